"""Who has the other in the sights on his own screen hits, however far the server is: within the bound."""

from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest

from loadtest.marksman import Marksman
from overworld.client.interpolation import Interpolator
from overworld.client.presence import Presence
from overworld.titles.frontier import Frontier
from overworld.titles.frontier.kinds import HP_MAX, Drone, Ship
from overworld.titles.frontier.rules import LANCE_ENERGY, rules_of
from tests.client.lag import LaggedWorld, Player

ONE = 256
RULES = rules_of(Frontier.world)


def aiming(player: Player) -> Marksman:
    """A marksman at the screen of this player."""
    assert player.steering is not None
    others = Interpolator(Presence(player.mirror), player.steering.beats)
    player.on_frame.append(others.frame)
    return Marksman(others, player.steering)


@pytest.mark.parametrize("round_trip_s", [0.02, 0.08, 0.2])
def test_an_aimed_lance_hits(round_trip_s: float, seed: int) -> None:
    async def play() -> None:
        chance = random.Random(seed)
        world = LaggedWorld(seed)
        shooter, target = world.join(round_trip_s, round_trip_s / 4), world.join(round_trip_s, round_trip_s / 4)
        await world.run(3.0)
        ships = world.stage.cores[0].shard[Ship]
        drones = world.stage.cores[0].shard[Drone]
        drones.remove(np.arange(len(drones)))
        marksman = aiming(shooter)
        await world.run(0.3)
        assert target.steering is not None
        own, other = shooter.mirror.avatar, target.mirror.avatar
        assert own is not None
        assert other is not None
        rows = ships.rows_of(np.array([own.entity, other.entity], np.int64))
        shots = hits = 0
        spans: set[int] = set()
        for frame in range(60 * 60):
            await world.run(1 / 60)
            if frame % 60 == 0:
                target.steer(chance.choice((-1, 0, 1)), 1)
                # Kept alive and in the middle of things: what is measured is the aim.
                ships.hp, ships.energy, ships.safe_tick = HP_MAX, LANCE_ENERGY + 4, 0
            if frame % 240 == 0:
                ships.at.x[rows], ships.at.y[rows] = (
                    (200 * ONE, 225 * ONE),
                    (250 * ONE, chance.randrange(230, 270) * ONE),
                )
                await world.run(0.8)
            if marksman.off(other.entity, world.now) is None:
                continue
            held = marksman.turn
            if marksman.aim(other.entity, world.now) != held:
                shooter.steer(marksman.turn, 0)
            # Hands are seen at once: so is what the beam would touch now.
            now = marksman.off(other.entity, world.now)
            assert now is not None
            _, along, across = now
            ready = ships.lance_tick[rows[0]] <= world.stage.cores[0].tick - 10
            if ready and abs(across) < RULES.hit_radius and 0 < along < RULES.lance_reach:
                before = int(ships.hp[rows[1]])
                shot = marksman.loose(world.now)
                shooter.flush()
                assert shot is not None
                assert shot.ago_ticks <= Frontier.rewind_ms / 50
                await world.run(round_trip_s + 0.3)
                shots += 1
                hits += int(ships.hp[rows[1]]) < before
                spans.add(shot.seen.span)
        assert shots > 15
        assert hits == shots, f"{hits} of {shots}, spans {spans}"

    asyncio.run(play())
