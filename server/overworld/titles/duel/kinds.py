"""What a duel consists of."""

from __future__ import annotations

from overworld.game import SERVER, Angle, Bool, Entity, Input, Int8, Int32, Int64, Motion, Player, UInt8, UInt16

WAITING, RUNNING, OVER = 0, 1, 2
"""`Arena.phase`: for a second player, the round, and the pause in which the winner is shown."""
HP_MAX = 5


class Arena(Entity):
    """The scoreboard in the middle of an arena. Row n of the table is arena n: arenas are made once and stay."""

    at = Motion()
    phase = UInt8()
    round = UInt16()
    end_tick = Int32()
    """When the phase ends: clients count down from the ticks they see."""
    winner = Int32()
    """Entity id of the last round's best fighter, 0 for none."""


class Fighter(Entity):
    """A player in an arena. One with hp 0 waits for its return."""

    at = Motion()
    aim = Angle()
    hp = UInt8(maximum=HP_MAX, default=HP_MAX)
    score = Int32()
    arena = Int32(audience=SERVER)
    right = Int8(-1, 1, audience=SERVER)
    down = Int8(-1, 1, audience=SERVER)
    fire = Bool(audience=SERVER)
    fire_tick = Int64()
    return_tick = Int64()


class Shot(Entity):
    """Flies straight until it hits somebody or a wall."""

    at = Motion()
    arena = Int32(audience=SERVER)
    owner = Int64()


class Act(Input):
    """Two sticks: where to go, where to aim, and the trigger. Sent when it changes."""

    right = Int8(-1, 1)
    down = Int8(-1, 1)
    aim = Angle()
    fire = Bool()


class Duelist(Player):
    """What stays of a player between two visits."""

    rounds = Int32()
    wins = Int32()
