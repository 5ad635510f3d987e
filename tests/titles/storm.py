"""Players of any title who come, go and do anything that the wire lets through: the same for the same seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from overworld.game import Grid, Title
from overworld.titles.duel import Duel
from overworld.titles.frontier import Frontier
from overworld.titles.roam import Roam
from overworld.world.schema import compile_input
from tests.titles.play import Command, Play

TITLES: dict[str, Title] = {"frontier": Frontier(), "roam": Roam(wanderers=20), "duel": Duel()}
# Small worlds of one shard, so that everybody meets everybody and the walls, and nobody leaves.
GRIDS = {
    "frontier": Grid(width=128, height=128, cell=32, shards=(1, 1), view=64),
    "roam": Grid(width=64, height=64, cell=32, shards=(1, 1), view=64),
    "duel": Grid(width=256, height=384, cell=64, shards=(1, 1), view=64),
}


@dataclass
class Storm:
    """`step` plays one more tick."""

    title: str
    seed: int
    players: int = 12
    index: int = 0
    play: Play = field(init=False)

    def __post_init__(self) -> None:
        grid = GRIDS[self.title]
        self.play = Play(TITLES[self.title], self.seed, self.index % grid.shard_count, grid)

    def script(self, tick: int) -> tuple[list[int], list[int], list[Command]]:
        """Who joins, who leaves and who does what in a tick: depends on the seed and the tick alone."""
        dice = random.Random(f"{self.seed}/{tick}")
        joins = [p for p in range(1, self.players + 1) if dice.random() < 0.05]
        leaves = [p for p in range(1, self.players + 1) if dice.random() < 0.01]
        commands: list[Command] = []
        for player in range(1, self.players + 1):
            while dice.random() < 0.25:
                kind = dice.choice(self.play.title.inputs)
                fields = compile_input(kind).fields
                values = [dice.randint(c.field.minimum, c.field.maximum) for c in fields]
                commands.append((player, kind, values))
        return joins, leaves, commands

    def step(self) -> None:
        joins, leaves, commands = self.script(self.play.core.tick + 1)
        accounts = self.play.shard.players
        inside = set(accounts.ids[accounts.inside > 0].tolist())
        going = {p for p in leaves if p in inside}
        coming = [p for p in joins if p not in inside]
        self.play.leave(*sorted(going))
        self.play.join(*coming)
        self.play.tick([c for c in commands if c[0] in (inside - going) or c[0] in coming])
