"""What frontier's world consists of, and what its players may do."""

from __future__ import annotations

from overworld.game import OWNER, SERVER, Angle, Bool, Entity, Input, Int8, Int32, Int64, Motion, Player, UInt8

PROTECTED, THRUSTING, DEAD = 1, 2, 4
"""Bits of `Ship.flags`. A dead ship stays where it died, touches nothing, and comes back elsewhere."""

HP_MAX = 100
ENERGY_MAX = 12


class Ship(Entity):
    """A player's ship. It holds the last command of its player."""

    at = Motion()
    heading = Angle()
    hp = UInt8(maximum=HP_MAX, default=HP_MAX)
    score = Int32()
    flags = UInt8()
    energy = UInt8(maximum=ENERGY_MAX, audience=OWNER, default=ENERGY_MAX)
    turn = Int8(-1, 1, audience=SERVER)
    thrust = Int8(-1, 1, audience=SERVER)
    fire = Bool(audience=SERVER)
    tapped = Bool(audience=SERVER)
    """The trigger was pulled since the last step, even if it is let go by now."""
    fire_tick = Int64()
    recharge_tick = Int64()
    safe_tick = Int64()
    respawn_tick = Int64()


class Bolt(Entity):
    """A shot. It flies straight, hits once, and ends at a wall or with its time."""

    at = Motion()
    owner = Int64()
    """Entity id of the ship or drone that fired it."""
    damage = UInt8(audience=SERVER)
    hostile = Bool(audience=SERVER)
    """Fired by a drone: it spares drones."""
    end_tick = Int64()


class Drone(Entity):
    """Wanders, follows and shoots at ships that come near. A killed one is replaced elsewhere at once."""

    at = Motion()
    heading = Angle()
    hp = UInt8(default=40)
    think_tick = Int64()


class Crystal(Entity):
    """Lies still until a ship takes it; then another grows elsewhere."""

    at = Motion()
    value = UInt8()


class Steer(Input):
    """What the player's hands do, sent when it changes: turn right (1) or left (-1), thrust (1) or brake (-1), fire."""

    turn = Int8(-1, 1)
    thrust = Int8(-1, 1)
    fire = Bool()


class Pilot(Player):
    """What stays of a player between two visits."""

    score = Int32()
    best = Int32()
    kills = Int32()
    deaths = Int32()
