"""Frontier's numbers: written in units and seconds, used in position units and ticks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from overworld.game import Grid

TURN_STEPS = 5
"""Angle steps a tick while turning: a full turn takes two and a half seconds at 20 Hz."""
THRUST_SHIFT, BRAKE_SHIFT = 4, 3
"""Each tick a ship's velocity covers 1/2**shift of what is missing to the velocity it wants."""

KILL_SCORE, DRONE_SCORE = 100, 25
DEATH_TENTHS = 1
"""Tenths of its score that a dying ship loses to its killer."""
SHIP_DAMAGE, DRONE_DAMAGE = 20, 6
LANCE_DAMAGE, LANCE_ENERGY = 30, 4
CRYSTAL_VALUES = (5, 10, 10, 25)
CRYSTAL_HEALS = 10

DRONE_TURN_STEPS, DRONE_AIM_STEPS = 24, 6
"""How far a wandering drone turns at most, and how far its aim is off at most."""
DRONE_CALM = 3
"""A drone in range shoots at one of so many thoughts."""
THINK_EVERY, COLLECT_EVERY = 3, 2
"""Ticks between two looks for drones that want to think, and for crystals in reach. A look costs as much for few as for
many, and nobody sees the difference: a ship in a hurry is in reach of a crystal for four ticks."""


@dataclass(frozen=True)
class Rules:
    """Lengths in position units, speeds in position units a tick, times in ticks."""

    ship_speed: int
    nose: int
    hit_radius: int
    ease_least: int
    muzzle_speed: int
    bolt_ticks: int
    cooldown_ticks: int
    recharge_ticks: int
    lance_reach: int
    lance_ticks: int
    safe_ticks: int
    respawn_ticks: int
    drone_speed: int
    drone_chase_speed: int
    drone_sight: int
    drone_range: int
    drone_keep_off: int
    drone_think_ticks: tuple[int, int]
    reach: int
    """How near a ship must come to a crystal."""
    drones: int
    crystals: int


@lru_cache(maxsize=64)
def rules_of(grid: Grid) -> Rules:
    """The rules in the units and ticks of a grid; drones and crystals are counts for one of its shards."""
    one, hz = grid.units_per_one, grid.tick_hz

    def ticks(milliseconds: int) -> int:
        return max(1, milliseconds * hz // 1000)

    area = grid.width * grid.height // grid.shard_count
    return Rules(
        ship_speed=40 * one // hz,
        nose=2 * one,
        hit_radius=2 * one,
        ease_least=max(1, one // 32),
        muzzle_speed=90 * one // hz,
        bolt_ticks=ticks(800),
        cooldown_ticks=ticks(200),
        recharge_ticks=ticks(350),
        lance_reach=48 * one,
        lance_ticks=ticks(900),
        safe_ticks=ticks(2000),
        respawn_ticks=ticks(2500),
        drone_speed=12 * one // hz,
        drone_chase_speed=26 * one // hz,
        drone_sight=56 * one,
        drone_range=40 * one,
        drone_keep_off=14 * one,
        drone_think_ticks=(ticks(300), ticks(600) + 1),
        reach=4 * one,
        drones=max(1, area // 96**2),
        crystals=max(1, area // 48**2),
    )
