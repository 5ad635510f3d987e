"""What frontier's world consists of, and what its players may do."""

from __future__ import annotations

from overworld.game import (
    OWNER,
    SERVER,
    Angle,
    Bool,
    Entity,
    Input,
    Int8,
    Int16,
    Int32,
    Int64,
    Message,
    Moment,
    Motion,
    Player,
    UInt8,
    UInt16,
)

PROTECTED, THRUSTING, DEAD = 1, 2, 4
"""Bits of `Ship.flags`. A dead ship stays where it died, touches nothing, and comes back elsewhere."""

HP_MAX = 100
ENERGY_MAX = 12


class Ship(Entity):
    """A player's ship. It holds the last command of its player."""

    at = Motion()
    rewind = True
    heading = Angle()
    hp = UInt8(maximum=HP_MAX, default=HP_MAX)
    score = Int32()
    flags = UInt8()
    lanced = UInt8()
    """How often it has let its lance loose, modulo 256: a change is to be seen."""
    lance_angle = Angle()
    """Where to, the last time."""
    energy = UInt8(maximum=ENERGY_MAX, audience=OWNER, default=ENERGY_MAX)
    turn = Int8(-1, 1, audience=OWNER)
    thrust = Int8(-1, 1, audience=OWNER)
    """The owner is told what is held here: with it, `prediction` needs nothing that its client does not know."""
    fire = Bool(audience=SERVER)
    tapped = Bool(audience=SERVER)
    """The trigger was pulled since the last step, even if it is let go by now."""
    fire_tick = Moment()
    lance_tick = Moment()
    recharge_tick = Moment()
    safe_tick = Moment()
    respawn_tick = Moment()
    struck = Int64()
    """The last bolt that hit from another shard: it is reported more than once."""


class Bolt(Entity):
    """A shot. It flies straight, hits once, and ends at a wall or with its time."""

    at = Motion()
    owner = Int64()
    """Entity id of the ship or drone that fired it."""
    home = Int16(audience=SERVER)
    """Shard it was fired in: where its owner was then."""
    damage = UInt8(audience=SERVER)
    hostile = Bool(audience=SERVER)
    """Fired by a drone: it spares drones."""
    end_tick = Moment()


class Drone(Entity):
    """Wanders, follows and shoots at ships that come near. A killed one is replaced elsewhere at once."""

    at = Motion()
    rewind = True
    heading = Angle()
    hp = UInt8(default=40)
    think_tick = Moment()
    struck = Int64()


class Crystal(Entity):
    """Lies still until a ship takes it; then another grows elsewhere."""

    at = Motion()
    value = UInt8()


class Steer(Input):
    """What the player's hands do, sent when it changes: turn right (1) or left (-1), thrust (1) or brake (-1), fire."""

    turn = Int8(-1, 1)
    thrust = Int8(-1, 1)
    fire = Bool()


class Lance(Input):
    """The second trigger. The player saw others `seen_part` / 256 of a tick beyond where they were at the input's
    `seen_tick`, on the straight way to where they were `seen_span` ticks later (by their velocity where that is 0), and
    the own ship `own_part` / 256 of the way from the tick before the one that applies this.
    """

    seen_part = UInt16(0, 4095)
    own_part = UInt8(default=255)
    seen_span = UInt8(0, 15)


class Beam(Message):
    """A lance that reaches into another shard."""

    x = Int32()
    y = Int32()
    ahead_x = Int32()
    ahead_y = Int32()
    owner = Int64()
    home = Int16(audience=SERVER)


class Shot(Message):
    """A bolt's way of one tick, to a shard it came near: whoever is hit there is that shard's to hurt."""

    bolt = Int64()
    owner = Int64()
    home = Int16(audience=SERVER)
    x = Int32()
    y = Int32()
    vx = Int32()
    vy = Int32()
    damage = UInt8()
    hostile = Bool()


class Spent(Message):
    """To a bolt: it has hit, in another shard than its own."""


class Points(Message):
    """To a ship: its bolt has hit, in another shard than its own."""

    points = Int32()
    kills = UInt8()


class Pilot(Player):
    """What stays of a player between two visits."""

    score = Int32()
    best = Int32()
    kills = Int32()
    deaths = Int32()
