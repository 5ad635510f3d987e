"""Login tokens for bots that are the same players in every run: signed with the cluster's key, as a gateway would."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from overworld.gateway.tokens import GUEST_ISSUER, GuestTokens, audience_of, player_id

LIFE_S = 50


@dataclass(frozen=True)
class Tickets:
    """Tokens of one world. Bot n is always the same player."""

    key: str
    world: str
    title: str

    def source(self, bot: int) -> Callable[[], Awaitable[str]]:
        """Gives a new token whenever bot n needs one."""
        tokens = GuestTokens(self.key.encode(), audience_of(self.world, self.title), LIFE_S)

        async def issue() -> str:
            return tokens.issue(subject(bot), time.time())

        return issue


def subject(bot: int) -> str:
    """Bot n's name."""
    return f"load-bot-{bot}"


def player_of(bot: int) -> int:
    """The player that bot n is."""
    return player_id(GUEST_ISSUER, subject(bot))
