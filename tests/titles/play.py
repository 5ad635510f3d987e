"""Plays a title without any server: a shard, players, inputs, ticks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from overworld.game import Entity, Grid, Input, Shard, Table, Title, contract_of
from overworld.shard.core import SessionEvent, ShardCore, TickInputs, TickOutcome

Command = tuple[int, type[Input], Sequence[int]]
"""(player, kind of input, values in the order of its fields)"""


@dataclass
class Play:
    """One shard of a title. A player's session has the player's own number."""

    title: Title
    seed: int = 1
    index: int = 0
    grid: Grid | None = None
    set_up: bool = True

    def __post_init__(self) -> None:
        self.core = ShardCore(contract_of(self.title, "test", self.seed, self.grid), self.title, self.index)
        if self.set_up:
            self.core.setup()
        self._events: list[tuple[SessionEvent, int, int]] = []

    @property
    def shard(self) -> Shard:
        return self.core.shard

    def __getitem__(self, kind: type[Entity]) -> Table:
        return self.shard[kind]

    def join(self, *players: int) -> None:
        """With the next tick."""
        self._events += [(SessionEvent.JOIN, player, player) for player in players]

    def leave(self, *players: int) -> None:
        """With the next tick."""
        self._events += [(SessionEvent.BYE, player, player) for player in players]

    def avatar(self, player: int, kind: type[Entity]) -> int:
        """Row of the player's avatar, -1 without one."""
        rows = self.shard.players.rows_of(np.array([player], np.int64))
        return int(self.shard.avatar_rows(rows, kind)[0])

    def account(self, player: int, column: str) -> int:
        """A value kept of the player."""
        row = int(self.shard.players.rows_of(np.array([player], np.int64))[0])
        return int(getattr(self.shard.players, column)[row])

    def tick(self, commands: Iterable[Command] = ()) -> TickOutcome:
        """One tick with these commands."""
        outcome = self.core.step(self._inputs(commands))
        self._events = []
        return outcome

    def ticks(self, count: int) -> None:
        """Ticks in which nobody does anything new."""
        for _ in range(count):
            self.tick()

    def _inputs(self, commands: Iterable[Command]) -> TickInputs:
        ordered = sorted(commands, key=lambda command: command[0])
        newcomers = {player for code, _, player in self._events if code is SessionEvent.JOIN}
        last: dict[int, int] = {}
        seqs = []
        for player, _, _ in ordered:
            if player not in last:
                last[player] = 0 if player in newcomers else self.account(player, "last_seq")
            last[player] += 1
            seqs.append(last[player])
        return TickInputs(
            events=tuple(self._events),
            sessions=np.array([player for player, _, _ in ordered], np.int64),
            seqs=np.array(seqs, np.int64),
            kinds=np.array([self.title.inputs.index(kind) for _, kind, _ in ordered], np.int64),
            seen_ticks=np.zeros(len(ordered), np.int64),
            counts=np.array([len(values) for _, _, values in ordered], np.int64),
            values=np.array([v for _, _, values in ordered for v in values], np.int64),
        )
