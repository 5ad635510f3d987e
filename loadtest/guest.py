"""A guest who opens the page, as a program: asks for a token, joins, looks around, leaves."""

from __future__ import annotations

from dataclasses import dataclass

from overworld.client.connection import Client
from overworld.client.guest import ask_guest

JOIN_S = 60.0
TICKS = 20


@dataclass(frozen=True)
class Visit:
    """What the guest found."""

    world: str
    title: str
    tick: int
    """Of the shard it was on, when it left."""
    frames: int
    entities: int
    has_avatar: bool


async def visit(page_url: str) -> Visit:
    """Join by a gateway's page address, stay for a second of the world, and leave.

    Raises ConnectionError, TimeoutError or ClientStopped where that does not work.
    """
    guest = await ask_guest(page_url)
    async with Client(guest.urls, guest.token, guest.title) as client:
        mirror = client.mirror
        await client.until(lambda _: mirror.own() is not None and bool(mirror.ticks), JOIN_S)
        first = _tick(client)
        await client.until(lambda _: _tick(client) >= first + TICKS, JOIN_S)
        contract = mirror.contract
        assert contract is not None
        seen = len(mirror.picture())
        return Visit(
            contract.world, contract.title, _tick(client), client.statistics.frames, seen, mirror.own() is not None
        )


def _tick(client: Client) -> int:
    return max((tick for _, tick in client.mirror.ticks.values()), default=0)
