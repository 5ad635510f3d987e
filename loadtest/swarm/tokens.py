"""Where bots get their tokens: made with the cluster's key, from a gateway's guest login, or from a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from overworld.client.connection import TokenSource
from overworld.client.guest import Tokens


@dataclass(frozen=True)
class Tickets:
    """One of three. `key`: the cluster's key; bot n is then the account `name`-n in every run. `guest_urls`: gateways'
    HTTP ports. `file`: one token a line, bot n takes line n; a token is good for one login, so a bot that must log in
    once more gives up.
    """

    key: str = field(default="", repr=False)
    world: str = "main"
    title: str = ""
    name: str = "load"
    guest_urls: tuple[str, ...] | list[str] = ()
    file: str = ""

    def source(self, number: int) -> TokenSource:
        """The token source of a bot. Raises ValueError where the file has none for it."""
        if self.file:
            return _once(Path(self.file), number)
        tokens = Tokens(tuple(self.guest_urls), self.key.encode(), self.world, self.title, self.name)
        return tokens.source(number)


def _once(file: Path, number: int) -> TokenSource:
    used = False

    async def take() -> str:
        nonlocal used
        lines = file.read_text().split()  # noqa: ASYNC240 - a small local file, once a bot
        if used or number >= len(lines):
            raise OSError(f"{file} has no further token for bot {number}")
        used = True
        return lines[number]

    return take
