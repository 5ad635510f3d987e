"""The rules of duel, verb by verb."""

from __future__ import annotations

from overworld.game import Grid, Inputs, Ints, Shard, Title
from overworld.titles.duel import fight, rounds
from overworld.titles.duel.islands import islands_of
from overworld.titles.duel.kinds import Act, Arena, Duelist, Fighter, Shot

TRY_LATER = 1013


class Duel(Title):
    """Many arenas of ten in one shard. An arena is one cell; arenas lie further apart than anybody sees."""

    name, version = "duel", 1
    world = Grid(width=3072, height=3072, cell=96, view=96)
    entities = (Arena, Fighter, Shot)
    inputs = (Act,)
    player = Duelist

    def setup(self, shard: Shard) -> None:
        """One scoreboard in the middle of each arena."""
        islands, arenas = islands_of(shard.grid, shard.bounds), shard[Arena]
        rows = arenas.spawn(len(islands))
        arenas.at.x[rows] = islands.x0 + islands.side // 2
        arenas.at.y[rows] = islands.y0 + islands.side // 2

    def join(self, shard: Shard, players: Ints) -> None:
        """Seat each in an arena; whom no arena has a seat for is asked to try later."""
        fighters = shard[Fighter]
        seats = rounds.seats(shard, len(players))
        shard.kick(players[len(seats) :], TRY_LATER)
        rows = fighters.spawn(len(seats))
        fighters.arena[rows] = seats
        fight.place(shard, islands_of(shard.grid, shard.bounds), rows)
        shard.give_avatar(players[: len(seats)], fighters, rows)

    def leave(self, shard: Shard, players: Ints) -> None:
        """The seat is free again."""
        rows = shard.avatar_rows(players, Fighter)
        shard[Fighter].remove(rows[rows >= 0])

    def step(self, shard: Shard, inputs: Inputs) -> None:
        """One tick of all arenas."""
        islands = islands_of(shard.grid, shard.bounds)
        fight.take_commands(shard[Fighter], inputs[Act])
        fight.come_back(shard, islands)
        fight.shoot(shard)
        fight.run(shard, islands)
        fight.fly_and_hit(shard, islands)
        rounds.turn_over(shard, islands)
