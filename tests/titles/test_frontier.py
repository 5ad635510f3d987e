"""Frontier: how ships fly, fight, die, return and collect."""

from __future__ import annotations

import numpy as np
import pytest

from overworld.game import ANGLE_SCALE, Grid, cosines, sines
from overworld.titles.frontier import Bolt, Crystal, Drone, Frontier, Ship, Steer
from overworld.titles.frontier.kinds import DEAD, ENERGY_MAX, HP_MAX, PROTECTED, THRUSTING
from overworld.titles.frontier.rules import CRYSTAL_HEALS, DRONE_SCORE, KILL_SCORE, SHIP_DAMAGE, rules_of
from tests.titles import bots
from tests.titles.play import Command, Play

ONE = 256
RULES = rules_of(Frontier.world)
AHEAD, LET_GO, FIRE, BRAKE = (0, 1, 0), (0, 0, 0), (0, 0, 1), (0, -1, 0)


def space(*players: int) -> Play:
    """A world without drones and crystals, with these players standing, unprotected, far from each other."""
    play = Play(Frontier(), set_up=False)
    play.join(*players)
    play.tick()
    ships = play[Ship]
    for player in players:
        row = play.avatar(player, Ship)
        ships.at.x[row], ships.at.y[row] = (100 + 200 * row) * ONE, 700 * ONE
    ships.heading = 0
    ships.safe_tick = 0
    play.tick()
    return play


def steer(player: int, hands: tuple[int, int, int]) -> Command:
    return player, Steer, hands


def put(play: Play, player: int, x: int, y: int) -> int:
    """Put a ship somewhere, in units. Returns its row."""
    row = play.avatar(player, Ship)
    play[Ship].at.x[row], play[Ship].at.y[row] = x * ONE, y * ONE
    return row


def until(play: Play, condition: object, most: int = 400) -> int:
    """Tick until a condition holds; the number of ticks."""
    assert callable(condition)
    for tick in range(most):
        if condition():
            return tick
        play.tick()
    raise AssertionError(f"not within {most} ticks")


# ---------------------------------------------------------------- flight


def test_thrust_reaches_full_speed_ahead_exactly_and_keeps_it() -> None:
    play = space(1)
    ships = play[Ship]
    for heading in (0, 37, 64, 150, 255):
        put(play, 1, 300, 700)
        ships.heading = heading
        wanted = [int(RULES.ship_speed * f(np.array([heading]))[0]) // ANGLE_SCALE for f in (cosines, sines)]
        play.tick([steer(1, AHEAD)])
        until(play, lambda wanted=wanted: [ships.at.vx[0], ships.at.vy[0]] == wanted, 80)
        for _ in range(5):
            play.tick()
            assert [ships.at.vx[0], ships.at.vy[0]] == wanted


def test_a_ship_that_coasts_costs_no_bytes() -> None:
    play = space(1)
    play.tick([steer(1, AHEAD)])
    play.ticks(20)
    play.tick([steer(1, LET_GO)])
    speed = int(play[Ship].at.vx[0])
    assert speed > RULES.ship_speed // 2
    play.core.encode()
    start = int(play[Ship].at.x[0])
    for tick in range(1, 20):
        play.tick()
        assert play[Ship].at.x[0] == start + tick * speed
        same_cell = (start + tick * speed) // (32 * ONE) == (start + (tick - 1) * speed) // (32 * ONE)
        assert len(play.core.encode().data) == 0 or not same_cell


def test_the_brake_stops_a_ship_for_good() -> None:
    play = space(1)
    play.tick([steer(1, AHEAD)])
    play.ticks(30)
    play.tick([steer(1, BRAKE)])
    assert until(play, lambda: play[Ship].at.vx[0] == 0, 60) > 5
    play.ticks(3)
    assert play[Ship].at.vx[0] == play[Ship].at.vy[0] == 0


def test_ships_turn_at_one_rate_and_wrap() -> None:
    play = space(1)
    play.tick([steer(1, (-1, 0, 0))])
    assert play[Ship].heading[0] == 256 - 5
    play.tick([steer(1, (1, 0, 0))])
    play.tick()
    assert play[Ship].heading[0] == 5
    play.tick([steer(1, LET_GO)])
    assert play[Ship].heading[0] == 5


def test_the_last_of_several_commands_in_a_tick_counts() -> None:
    play = space(1, 2)
    play.tick([steer(1, AHEAD), steer(1, LET_GO), steer(2, LET_GO), steer(2, AHEAD)])
    rows = [play.avatar(1, Ship), play.avatar(2, Ship)]
    assert play[Ship].thrust[rows].tolist() == [0, 1]


def test_thrust_shows() -> None:
    play = space(1)
    play.tick([steer(1, AHEAD)])
    assert play[Ship].flags[0] == THRUSTING
    play.tick([steer(1, BRAKE)])
    assert play[Ship].flags[0] == 0


def test_the_worlds_end_throws_ships_back() -> None:
    play = space(1)
    put(play, 1, 2, 700)
    play[Ship].heading[:] = 128
    play.tick([steer(1, AHEAD)])
    until(play, lambda: play[Ship].at.vx[0] > 0, 80)
    assert play[Ship].at.x[0] >= 0


# ---------------------------------------------------------------- fights


def duel(distance: int = 20) -> Play:
    """Player 1 looks at player 2, `distance` units ahead."""
    play = space(1, 2)
    put(play, 1, 300, 700)
    put(play, 2, 300 + distance, 700)
    return play


def test_five_hits_kill_and_pay() -> None:
    play = duel()
    victim = play.avatar(2, Ship)
    play[Ship].score[victim] = 55
    play.tick([steer(1, FIRE)])
    until(play, lambda: play[Ship].hp[victim] == HP_MAX - SHIP_DAMAGE)
    until(play, lambda: play[Ship].flags[victim] == DEAD)
    assert play[Ship].hp[victim] == 0
    assert play[Ship].score[play.avatar(1, Ship)] == KILL_SCORE + 5
    assert play[Ship].score[victim] == 50
    assert play.account(1, "kills") == 1
    assert play.account(2, "deaths") == 1
    assert play.account(2, "best") == 55


def test_the_dead_stay_where_they_are_and_return_whole_and_protected() -> None:
    play = duel()
    victim = play.avatar(2, Ship)
    play.tick([steer(1, FIRE), steer(2, (0, 1, 0))])
    until(play, lambda: play[Ship].flags[victim] == DEAD)
    play.tick([steer(1, LET_GO)])
    grave = (int(play[Ship].at.x[victim]), int(play[Ship].at.y[victim]))
    entity = int(play[Ship].ids[victim])
    ticks = until(play, lambda: play[Ship].flags[victim] != DEAD)
    assert abs(ticks - RULES.respawn_ticks) <= 2
    assert play[Ship].ids[victim] == entity
    assert play[Ship].hp[victim] == HP_MAX
    assert play[Ship].flags[victim] & PROTECTED
    assert (int(play[Ship].at.x[victim]), int(play[Ship].at.y[victim])) != grave
    until(play, lambda: not play[Ship].flags[victim] & PROTECTED, RULES.safe_ticks + 1)


def test_the_dead_do_not_move_shoot_or_get_hit() -> None:
    play = duel()
    victim = play.avatar(2, Ship)
    play.tick([steer(1, FIRE)])
    until(play, lambda: play[Ship].flags[victim] == DEAD)
    play.tick([steer(2, (1, 1, 1))])
    before = play[Ship].columns[:, victim].copy()
    mine = int(play[Ship].ids[victim])
    for _ in range(RULES.respawn_ticks - 5):
        play.tick()
        assert play[Ship].columns[:5, victim].tolist() == before[:5].tolist()
        assert play[Ship].hp[victim] == 0
    assert mine not in play[Bolt].owner.tolist()


def test_the_protected_are_not_hit_and_lose_protection_by_firing() -> None:
    play = duel()
    one, two = play.avatar(1, Ship), play.avatar(2, Ship)
    play[Ship].safe_tick[[one, two]] = play.core.tick + 60
    play.tick()
    assert play[Ship].flags[[one, two]].tolist() == [PROTECTED, PROTECTED]
    play.tick([steer(1, FIRE)])
    play.ticks(30)
    assert play[Ship].flags[[one, two]].tolist() == [0, PROTECTED]
    assert play[Ship].hp[two] == HP_MAX
    until(play, lambda: play[Ship].hp[two] < HP_MAX)


def test_a_tap_within_one_tick_fires_once() -> None:
    play = space(1)
    play.tick([steer(1, FIRE), steer(1, LET_GO)])
    assert len(play[Bolt]) == 1
    play.ticks(RULES.cooldown_ticks + 1)
    assert len(play[Bolt]) == 1


def test_guns_cool_down_run_dry_and_recharge() -> None:
    play = space(1)
    fired = []
    play.tick([steer(1, FIRE)])
    for _ in range(200):
        before = play[Bolt].next_id
        play.tick()
        if play[Bolt].next_id != before:
            fired.append(play.core.tick)
    gaps = np.diff(fired)
    assert gaps.min() == RULES.cooldown_ticks
    assert gaps[-1] == RULES.recharge_ticks
    assert play[Ship].energy[0] <= 1
    play.tick([steer(1, LET_GO)])
    until(play, lambda: play[Ship].energy[0] == ENERGY_MAX, RULES.recharge_ticks * ENERGY_MAX + 2)


def test_bolts_do_not_fly_through_ships_and_end_in_time() -> None:
    for distance in range(4, 12):
        play = duel(distance)
        play.tick([steer(1, FIRE), steer(1, LET_GO)])
        until(play, lambda play=play: not len(play[Bolt]))
        assert play[Ship].hp[play.avatar(2, Ship)] == HP_MAX - SHIP_DAMAGE, distance
    play = duel(distance=150)
    play.tick([steer(1, FIRE), steer(1, LET_GO)])
    assert until(play, lambda: not len(play[Bolt])) == RULES.bolt_ticks
    assert play[Ship].hp[play.avatar(2, Ship)] == HP_MAX


def test_bolts_end_at_the_worlds_end() -> None:
    play = space(1)
    put(play, 1, 4, 700)
    play[Ship].heading[:] = 128
    play.tick([steer(1, FIRE), steer(1, LET_GO)])
    play.tick()
    assert len(play[Bolt]) == 0


def test_bolts_of_one_who_left_still_hit() -> None:
    play = duel(distance=50)
    play.tick([steer(1, FIRE)])
    play.leave(1)
    until(play, lambda: not len(play[Bolt]))
    assert play[Ship].hp.tolist() == [HP_MAX - SHIP_DAMAGE]


# ---------------------------------------------------------------- drones and crystals


def test_a_killed_drone_pays_and_is_replaced() -> None:
    play = space(1)
    drones = play[Drone]
    drones.spawn(1)
    drones.at.x, drones.at.y, drones.think_tick = 120 * ONE, 700 * ONE, 10**6
    first = int(drones.ids[0])
    play.tick([steer(1, FIRE)])
    until(play, lambda: first not in drones.ids.tolist())
    assert len(drones) == 1
    assert play[Ship].score[0] == DRONE_SCORE


def test_drones_find_chase_and_shoot_the_nearest_ship_and_spare_each_other() -> None:
    play = space(1)
    drones = play[Drone]
    drones.spawn(2)
    drones.at.x, drones.at.y = np.array([140, 120]) * ONE, 700 * ONE
    hit = until(play, lambda: play[Ship].hp[0] < HP_MAX)
    assert hit > 2
    assert drones.hp.tolist() == [40, 40]
    assert np.abs(drones.at.x - play[Ship].at.x[0]).max() < 40 * ONE


def test_drones_go_for_the_nearer_of_two_ships() -> None:
    play = space(1, 2)
    put(play, 1, 310, 700)
    put(play, 2, 343, 700)
    drones = play[Drone]
    drones.spawn(1)
    drones.at.x, drones.at.y = 330 * ONE, 700 * ONE
    until(play, lambda: drones.at.vx[0] != 0)
    assert drones.at.vx[0] > 0
    put(play, 2, 390, 700)
    until(play, lambda: drones.at.vx[0] < 0, 30)


def test_drones_leave_the_protected_alone() -> None:
    play = space(1)
    play[Ship].safe_tick = 10**6
    drones = play[Drone]
    drones.spawn(3)
    drones.at.x, drones.at.y = 130 * ONE, 700 * ONE
    for _ in range(100):
        play.tick()
        assert len(play[Bolt]) == 0


def test_crystals_pay_heal_and_grow_elsewhere() -> None:
    play = space(1)
    crystals = play[Crystal]
    crystals.spawn(2)
    crystals.at.x, crystals.at.y, crystals.value = np.array([100, 500]) * ONE, 703 * ONE, np.array([25, 5])
    play[Ship].hp = 50
    before = crystals.ids.tolist()
    play.ticks(2)
    assert play[Ship].score[0] == 25
    assert play[Ship].hp[0] == 50 + CRYSTAL_HEALS
    assert len(crystals) == 2
    assert before[0] not in crystals.ids.tolist()
    assert before[1] in crystals.ids.tolist()


def test_the_dead_collect_nothing() -> None:
    play = duel()
    victim = play.avatar(2, Ship)
    play.tick([steer(1, FIRE)])
    until(play, lambda: play[Ship].flags[victim] == DEAD)
    play[Crystal].spawn(1)
    play[Crystal].at.x, play[Crystal].at.y, play[Crystal].value = play[Ship].at.x[victim], play[Ship].at.y[victim], 10
    first = int(play[Crystal].ids[0])
    play.ticks(4)
    assert play[Crystal].ids.tolist() == [first]
    assert play[Ship].hp[victim] == 0


def test_healing_ends_at_the_top() -> None:
    play = space(1)
    play[Crystal].spawn(3)
    play[Crystal].at.x, play[Crystal].at.y = 100 * ONE, 700 * ONE
    play[Ship].hp = 95
    play.ticks(2)
    assert play[Ship].hp[0] == HP_MAX


def test_of_two_ships_at_one_crystal_one_gets_it() -> None:
    play = space(1, 2)
    put(play, 1, 300, 700)
    put(play, 2, 301, 700)
    play[Crystal].spawn(1)
    play[Crystal].at.x, play[Crystal].at.y, play[Crystal].value = 300 * ONE, 700 * ONE, 10
    play.ticks(2)
    assert sorted(play[Ship].score.tolist()) == [0, 10]


# ---------------------------------------------------------------- coming and going


def test_who_comes_back_has_the_old_score_and_best() -> None:
    play = space(2, 4)
    play[Ship].score[play.avatar(2, Ship)] = 70
    play.leave(2)
    play.tick()
    assert play.avatar(2, Ship) == -1
    assert len(play[Ship]) == 1
    play.ticks(5)
    play.join(2)
    play.tick()
    assert play[Ship].score[play.avatar(2, Ship)] == 70
    assert play[Ship].score[play.avatar(4, Ship)] == 0
    assert play.account(2, "best") == 70
    assert play[Ship].flags[play.avatar(2, Ship)] & PROTECTED


def test_content_grows_with_a_shards_area() -> None:
    small, large = (rules_of(Grid(width=w, height=512, cell=32)) for w in (512, 2048))
    assert abs(large.drones - 4 * small.drones) <= 4
    assert abs(large.crystals - 4 * small.crystals) <= 4


def test_speeds_and_times_follow_the_tick_rate() -> None:
    slow, fast = (rules_of(Grid(width=512, height=512, cell=32, tick_hz=hz)) for hz in (20, 40))
    assert abs(slow.ship_speed - 2 * fast.ship_speed) <= 1
    assert fast.respawn_ticks == 2 * slow.respawn_ticks


@pytest.mark.parametrize("seed", [3])
def test_the_world_is_lively(seed: int) -> None:
    """Twenty-five players for a minute and a half: all kinds of things happen to most of them."""
    play = Play(Frontier(), seed)
    players = list(range(1, 26))
    play.join(*players)
    play.tick()
    held: dict[int, tuple[int, int, int]] = {}
    crystals, drones = play[Crystal].next_id, play[Drone].next_id
    for _ in range(90 * 20):
        play.tick(bots.commands(play, players, held))
    accounts, step = play.shard.players, 8
    figures = {
        "kills": int(accounts.kills.sum()),
        "deaths": int(accounts.deaths.sum()),
        "crystals": (play[Crystal].next_id - crystals) // step,
        "drones": (play[Drone].next_id - drones) // step,
    }
    least = {"kills": 10, "deaths": 15, "crystals": 200, "drones": 100}
    assert all(figures[name] >= count for name, count in least.items()), f"seed {seed}: {figures}"
