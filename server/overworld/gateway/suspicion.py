"""Streams that no client of ours sends, by player: a bounded report for operators. Pure.

What is not accepted ends a socket, and a client that keeps to the protocol never gets there. A claim to have seen what
nobody was told (`foresight`) is harmless and ends nothing. Once may be a bug or a bad memory chip; the same player
again and again is somebody who tries. Nothing is decided here: an operator reads it and kicks.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping

from overworld.gateway.codes import CloseCode

PLAYERS_MAX = 1000
"""Beyond it, who was suspicious longest ago is forgotten."""
REASONS: Mapping[int, str] = {
    CloseCode.PROTOCOL_ERROR: "protocol",
    CloseCode.NOT_BINARY: "protocol",
    CloseCode.BAD_MESSAGE: "bad_message",
    CloseCode.TOO_BIG: "too_big",
    CloseCode.POLICY: "too_much",
    CloseCode.BAD_INPUT: "bad_input",
    CloseCode.INPUT_GAP: "input_gap",
}
"""Close codes that say something of the client, and what."""


SEEN_AHEAD = "seen_ahead"
"""Inputs that claimed to have seen a tick which nobody had been told of: their socket stays open."""


class Suspicion:
    """Counts by player and reason."""

    def __init__(self, players_max: int = PLAYERS_MAX) -> None:
        self._players: OrderedDict[int, Counter[str]] = OrderedDict()
        self._players_max = players_max

    def note(self, player: int, what: int | str, times: int = 1) -> tuple[str, bool] | None:
        """A player's socket was closed with this code, or the player did so many times what this reason says. Returns
        the reason and whether the player is new here; None for a code that says nothing of the client, and for a socket
        that had not said whose it is (`player` 0).
        """
        reason = what if isinstance(what, str) else REASONS.get(what)
        if reason is None or not player:
            return None
        new = player not in self._players
        self._players.setdefault(player, Counter())[reason] += times
        self._players.move_to_end(player)
        while len(self._players) > self._players_max:
            self._players.popitem(last=False)
        return reason, new

    def worst(self, most: int) -> list[tuple[int, dict[str, int]]]:
        """Players and their counts by reason, the most suspicious first."""
        ordered = sorted(self._players.items(), key=lambda entry: (-entry[1].total(), entry[0]))
        return [(player, dict(counts)) for player, counts in ordered[:most]]
