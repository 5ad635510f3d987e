"""Frontier's lance: judged by what the shooter saw, within a bound."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from overworld.game import Grid
from overworld.shard.core import TickInputs
from overworld.titles.frontier import Frontier, Lance, Ship
from overworld.titles.frontier.kinds import DEAD, ENERGY_MAX, HP_MAX, PROTECTED
from overworld.titles.frontier.rules import LANCE_DAMAGE, LANCE_ENERGY, rules_of
from tests.titles.play import Play

ONE = 256
RULES = rules_of(Frontier.world)
BACK = Frontier.rewind_ms * Frontier.world.tick_hz // 1000
SHOOTER, TARGET = 1, 2


def duel(distance: int = 30, vy: int = 0, grid: Grid | None = None) -> Play:
    """Two ships: the shooter looks along x at the place of the other, which flies across with `vy` a tick."""
    play = Play(Frontier(), grid=grid, set_up=False)
    play.join(SHOOTER, TARGET)
    play.tick()
    ships = play[Ship]
    ships.safe_tick, ships.heading, ships.at.vx, ships.at.vy = 0, 0, 0, 0
    x0, y0, x1, y1 = play.shard.bounds
    ships.at.x, ships.at.y = (x0 + x1) // 2, (y0 + y1) // 2
    row = play.avatar(TARGET, Ship)
    ships.at.x[row] += distance * ONE
    ships.at.vy[row] = vy
    play.tick()
    return play


def loose(play: Play, seen_tick: int = 0, seen_part: int = 0, own_part: int = 255, span: int = 1) -> None:
    """The shooter lets its lance loose."""
    inputs = play._inputs([(SHOOTER, Lance, [seen_part, own_part, span])])
    play.core.step(replace(inputs, seen_ticks=np.array([seen_tick], np.int64)))
    play._events = []


def hull(play: Play, player: int = TARGET) -> int:
    return int(play[Ship].hp[play.avatar(player, Ship)])


def test_it_hits_what_stands_in_its_way_at_once() -> None:
    play = duel()
    loose(play)
    assert hull(play) == HP_MAX - LANCE_DAMAGE
    assert hull(play, SHOOTER) == HP_MAX
    assert play[Ship].lanced[play.avatar(SHOOTER, Ship)] == 1


def test_it_costs_energy_and_has_to_cool() -> None:
    play = duel()
    energy = play[Ship].energy
    loose(play)
    assert energy[play.avatar(SHOOTER, Ship)] >= ENERGY_MAX - LANCE_ENERGY
    loose(play)
    assert hull(play) == HP_MAX - LANCE_DAMAGE, "not cool yet"
    play.ticks(RULES.lance_ticks - 1)
    loose(play)
    assert hull(play) == HP_MAX - 2 * LANCE_DAMAGE
    play.ticks(RULES.lance_ticks)
    play[Ship].energy = LANCE_ENERGY - 1
    play[Ship].recharge_tick = 10**6
    loose(play)
    assert hull(play) == HP_MAX - 2 * LANCE_DAMAGE, "no energy"


@pytest.mark.parametrize("ago", range(1, BACK + 1))
def test_a_target_is_hit_where_it_was_seen(ago: int) -> None:
    play = duel(vy=2 * ONE)
    play.ticks(BACK + 1)
    ships, row = play[Ship], play.avatar(TARGET, Ship)
    seen_tick = play.core.tick + 1 - ago
    # The shooter stands where the target was at that tick.
    ships.at.y[play.avatar(SHOOTER, Ship)] = ships.at.y[row] - (ago - 1) * 2 * ONE
    loose(play, seen_tick)
    assert hull(play) == HP_MAX - LANCE_DAMAGE


def test_where_it_is_now_does_not_count() -> None:
    play = duel(vy=3 * ONE)
    play.ticks(BACK + 1)
    ships, row = play[Ship], play.avatar(TARGET, Ship)
    ships.at.y[play.avatar(SHOOTER, Ship)] = ships.at.y[row] + 3 * ONE
    loose(play, play.core.tick - 3)
    assert hull(play) == HP_MAX


def test_between_two_ticks_it_is_judged_between_them() -> None:
    for part, hits in ((128, True), (0, False)):
        play = duel(vy=6 * ONE)
        play.ticks(BACK + 1)
        ships, row = play[Ship], play.avatar(TARGET, Ship)
        ships.at.y[play.avatar(SHOOTER, Ship)] = ships.at.y[row] - 2 * 6 * ONE - 3 * ONE
        loose(play, play.core.tick - 3, part)
        assert (hull(play) < HP_MAX) is hits


def test_what_was_drawn_over_a_lost_tick_or_by_velocity_is_judged_there() -> None:
    """The target flew evenly, then turned sharply: where it was drawn is not where it was at that moment."""
    for span, part, drawn in ((2, 256, 4 * ONE), (0, 256, 8 * ONE), (1, 256, 8 * ONE)):
        for at, hits in ((drawn, True), (drawn + 4 * ONE, False), (drawn - 4 * ONE, False)):
            play = duel()
            play.ticks(BACK)
            ships, row = play[Ship], play.avatar(TARGET, Ship)
            y = int(ships.at.y[row])
            ships.at.vy[row] = 8 * ONE
            first = play.core.tick
            # It is at y with a velocity of 8, then at y + 8, then at y + 8 again.
            play.shard._rings["Ship"].keep(first)
            play.tick()
            ships.at.vy[row] = 0
            play.tick()
            ships.at.y[play.avatar(SHOOTER, Ship)] = y + at
            loose(play, first, part, span=span)
            assert (hull(play) < HP_MAX) is hits, (span, part, at)


def test_who_claims_to_have_heard_nothing_for_long_gains_little() -> None:
    play = duel(vy=2 * ONE)
    play.ticks(BACK + 1)
    ships, row = play[Ship], play.avatar(TARGET, Ship)
    first = play.core.tick + 1 - BACK
    y = int(ships.at.y[row]) - (BACK - 1) * 2 * ONE
    ships.at.y[play.avatar(SHOOTER, Ship)] = y + BACK * 2 * ONE
    loose(play, first, 256 * BACK, span=0)
    assert hull(play) == HP_MAX, "further ahead than anybody is believed"
    play.ticks(RULES.lance_ticks)
    loose(play, play.core.tick, 4095, span=15)
    assert play[Ship].lanced[play.avatar(SHOOTER, Ship)] == 2, "what nobody can have seen is cut to what one could"


def test_who_claims_to_see_long_ago_gets_the_bound() -> None:
    play = duel(vy=4 * ONE)
    play.ticks(30)
    ships, row = play[Ship], play.avatar(TARGET, Ship)
    ships.at.y[play.avatar(SHOOTER, Ship)] = ships.at.y[row] - 20 * 4 * ONE
    loose(play, play.core.tick - 20)
    assert hull(play) == HP_MAX
    play.ticks(RULES.lance_ticks)
    ships.at.y[play.avatar(SHOOTER, Ship)] = ships.at.y[row] - (BACK - 1) * 4 * ONE
    loose(play, 1)
    assert hull(play) == HP_MAX - LANCE_DAMAGE


def test_the_nearest_thing_is_hit_and_the_dead_and_protected_are_not() -> None:
    play = duel()
    play.join(3)
    play.tick()
    ships = play[Ship]
    for name in ("x", "y", "vx", "vy"):
        column = getattr(ships.at, name)
        column[play.avatar(3, Ship)] = column[play.avatar(TARGET, Ship)]
    ships.at.x[play.avatar(3, Ship)] -= 10 * ONE
    ships.safe_tick = 0
    play.ticks(BACK)
    loose(play)
    assert (hull(play, 3), hull(play)) == (HP_MAX - LANCE_DAMAGE, HP_MAX)
    play.ticks(RULES.lance_ticks)
    ships.flags[play.avatar(3, Ship)], ships.respawn_tick[play.avatar(3, Ship)] = DEAD, 10**6
    ships.safe_tick[play.avatar(TARGET, Ship)] = 10**6
    loose(play)
    assert hull(play) == HP_MAX
    assert ships.flags[play.avatar(TARGET, Ship)] & PROTECTED


def test_it_reaches_only_so_far() -> None:
    play = duel(distance=RULES.lance_reach // ONE + 8)
    loose(play)
    assert hull(play) == HP_MAX


def test_it_reaches_over_a_border() -> None:
    grid = Grid(width=256, height=128, cell=32, shards=(2, 1), view=64)
    west, east = Play(Frontier(), grid=grid, set_up=False), Play(Frontier(), grid=grid, set_up=False, index=1)
    for play, player, x in ((west, SHOOTER, 120), (east, TARGET, 140)):
        play.join(player)
        play.tick()
        ships = play[Ship]
        ships.safe_tick, ships.heading, ships.at.vx, ships.at.vy = 0, 0, 0, 0
        ships.at.x, ships.at.y = x * ONE, 64 * ONE
        play.ticks(2)
    outcome = west.core.step(west._inputs([(SHOOTER, Lance, [0, 255, 0])]))
    assert [message.to_shard for message in outcome.outbox] == [1]
    east.core.step(TickInputs(messages=outcome.outbox))
    assert hull(east) == HP_MAX - LANCE_DAMAGE
