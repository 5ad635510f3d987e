"""Whatever stream of inputs the inbox lets through, nobody gets more out of a title than its rules give.

The streams name absurd ticks, repeat and skip numbers, come in bursts and hold values out of range; the rules are read
off the state after every tick. Each title is also played with a rule of its own taken out: then the same check fails.
"""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overworld.game import Entity, Ints, Shard, Table
from overworld.shard.inbox import BAD_INPUT, INPUT_GAP, Inbox, InputColumnsIn
from overworld.shard.inputs import SessionEvent, TickInputs
from overworld.titles import roam
from overworld.titles.duel import Fighter, Shot, fight
from overworld.titles.frontier import Ship, flight
from overworld.titles.frontier.kinds import DEAD, Bolt
from overworld.titles.frontier.rules import THRUST_SHIFT, TURN_STEPS, rules_of
from overworld.titles.roam import Avatar
from tests.titles.play import Play
from tests.titles.storm import GRIDS, TITLES

PLAYERS = 3
AVATARS: dict[str, type[Entity]] = {"frontier": Ship, "duel": Fighter, "roam": Avatar}
COLUMNS = {"frontier": ("heading", "energy", "flags", "fire_tick"), "duel": ("hp", "fire_tick"), "roam": ()}
ABSURD_TICKS = (0, 1, 2**31, 2**32 - 1)
ROUNDING = 2
"""Position units that whole-number sines and cosines may add to a speed."""

Sent = tuple[int, int, int, int, int, int]
"""(player, what its number is off by, kind, a number the values are made of, seen tick and due tick: offsets to the
tick, or absurd)"""
Stream = list[list[Sent]]
WILD = 10_000
"""A number from here on makes one value too large for its field."""

ticks = st.one_of(st.integers(-300, 30), st.sampled_from(ABSURD_TICKS))
skews = st.sampled_from((0, 0, 0, 0, 0, 0, -1, 1))
sent = st.tuples(st.integers(1, PLAYERS), skews, st.integers(0, 1), st.integers(0, WILD + 500), ticks, ticks)
streams = st.lists(st.lists(sent, max_size=30), min_size=1, max_size=60)


def dense_stream(seed: int, length: int = 200) -> Stream:
    """Players who send something nearly every tick."""
    dice = random.Random(seed)
    return [
        [(p, 0, 0, dice.randrange(WILD), 0, 0) for p in range(1, PLAYERS + 1) if dice.random() < 0.7]
        for _ in range(length)
    ]


class Cheats:
    """Plays a stream through the real inbox, and asks the rules after each tick."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.play = Play(TITLES[title], grid=GRIDS[title])
        self.core = self.play.core
        self.inbox = Inbox(self.core.contract)
        players = range(1, PLAYERS + 1)
        self.core.step(TickInputs(events=tuple((SessionEvent.JOIN, p, p) for p in players)))
        self.fired: dict[int, int] = {}

    def run(self, stream: Stream) -> None:
        for arrivals in stream:
            self.tick(arrivals)

    def tick(self, arrivals: list[Sent]) -> None:
        if arrivals:
            self.inbox.inputs(self._columns(arrivals))
        inputs, refused = self.inbox.take(self.core.shard, self.core.sessions)
        self._check_admitted(inputs)
        assert set(refused[1].tolist()) <= {BAD_INPUT, INPUT_GAP, 1008}
        avatars = self.play[AVATARS[self.title]]
        before, last_id = self._seen(avatars), self._last_shot()
        self.core.step(inputs)
        after = self._seen(self.play[AVATARS[self.title]])
        assert (before["ids"] == after["ids"]).all(), "nobody joins or leaves"
        {"frontier": self._frontier, "duel": self._duel, "roam": self._roam}[self.title](before, after)
        if self.title != "roam":
            self._check_shots(last_id, before, after)

    def _columns(self, arrivals: list[Sent]) -> InputColumnsIn:
        contract, tick = self.core.contract, self.core.tick
        count: Counter[int] = Counter()
        rows: list[tuple[int, int, int, int, list[int], int]] = []
        for player, skew, kind, number, seen, due in arrivals:
            kind %= len(contract.inputs)
            count[player] += 1
            seq = max(1, self.play.account(player, "last_seq") + count[player] + skew)
            fields = [f.field for f in contract.inputs[kind].fields]
            dice = random.Random(number)
            values = [dice.randint(f.minimum, f.maximum) for f in fields]
            if number >= WILD:
                at = number % len(fields)
                values[at] = min(fields[at].maximum + 1 + dice.randrange(50), 2**31 - 1)
            moments = [m if m in ABSURD_TICKS else max(0, tick + m) for m in (seen, due)]
            rows.append((player, seq, kind, moments[0], values, moments[1]))
        sessions, seqs, kinds, seen_ticks = (np.array([r[i] for r in rows], np.int64) for i in (0, 1, 2, 3))
        flat = np.array([v for r in rows for v in r[4]], np.int64)
        lengths = np.array([len(r[4]) for r in rows], np.int64)
        due_ticks = np.array([r[5] for r in rows], np.int64)
        return InputColumnsIn(sessions, seqs, kinds, seen_ticks, lengths, flat, due_ticks)

    def _check_admitted(self, inputs: TickInputs) -> None:
        contract, start = self.core.contract, 0
        most = Counter(inputs.sessions.tolist())
        assert all(n <= contract.inputs_per_tick_max for n in most.values())
        for kind, length in zip(inputs.kinds.tolist(), inputs.counts.tolist(), strict=True):
            fields = contract.inputs[kind].fields
            for compiled, value in zip(fields, inputs.values[start : start + length].tolist(), strict=True):
                assert compiled.field.minimum <= value <= compiled.field.maximum
            start += length

    def _seen(self, avatars: Table) -> dict[str, Ints]:
        at = avatars.at
        seen = {"ids": avatars.ids, "x": at.x, "y": at.y, "vx": at.vx, "vy": at.vy}
        seen |= {name: getattr(avatars, name) for name in COLUMNS[self.title]}
        return {name: np.array(column) for name, column in seen.items()}

    def _last_shot(self) -> int:
        ids = self.play[Bolt if self.title == "frontier" else Shot].ids if self.title != "roam" else ()
        return int(max(ids, default=0))

    def _check_speed(self, before: dict[str, Ints], after: dict[str, Ints], top: int, stayed: Ints) -> None:
        """`stayed` are the rows that were not put elsewhere."""
        assert (np.hypot(after["vx"], after["vy"]) <= top).all()
        way = np.hypot(after["x"] - before["x"], after["y"] - before["y"])
        assert (way[stayed] <= top).all()

    def _check_shots(self, last_id: int, before: dict[str, Ints], after: dict[str, Ints]) -> None:
        """One shot at a time, and none before the gun is cool."""
        shots = self.play[Bolt if self.title == "frontier" else Shot]
        owners = Counter(shots.owner[shots.ids > last_id].tolist())
        hz, tick = self.play.shard.grid.tick_hz, self.core.tick
        frontier = rules_of(self.play.shard.grid).cooldown_ticks
        cooldown = frontier if self.title == "frontier" else fight.COOLDOWN_MS * hz // 1000
        for entity in after["ids"].tolist():
            assert owners[entity] <= 1
            if owners[entity]:
                assert tick - self.fired.get(entity, -cooldown) >= cooldown
                self.fired[entity] = tick

    def _roam(self, before: dict[str, Ints], after: dict[str, Ints]) -> None:
        grid = self.play.shard.grid
        top = 20 * grid.units_per_one // grid.tick_hz + ROUNDING
        self._check_speed(before, after, top, np.arange(len(after["ids"])))

    def _duel(self, before: dict[str, Ints], after: dict[str, Ints]) -> None:
        grid = self.play.shard.grid
        top = 24 * grid.units_per_one // grid.tick_hz + ROUNDING
        # A new round puts fighters elsewhere, standing.
        stayed = np.flatnonzero((before["hp"] > 0) & ((after["vx"] != 0) | (after["vy"] != 0)))
        self._check_speed(before, after, top, stayed)

    def _frontier(self, before: dict[str, Ints], after: dict[str, Ints]) -> None:
        rules = rules_of(self.play.shard.grid)
        # The easing's least step may cut a corner of the circle of speeds.
        top = rules.ship_speed + rules.ease_least + ROUNDING
        alive = np.flatnonzero(((before["flags"] | after["flags"]) & DEAD) == 0)
        self._check_speed(before, after, top, alive)
        push = max(rules.ease_least, 2 * top >> THRUST_SHIFT) + 1
        for axis in ("vx", "vy"):
            # Sizes: a wall turns a velocity round.
            assert (np.abs(np.abs(after[axis]) - np.abs(before[axis]))[alive] <= push).all()
        turned = (after["heading"] - before["heading"])[alive] & 255
        assert np.isin(turned, (0, TURN_STEPS, 256 - TURN_STEPS)).all()
        gained = (after["energy"] - before["energy"])[alive]
        assert (gained <= 1).all()
        shot = alive[(after["fire_tick"] != before["fire_tick"])[alive]]
        assert (before["energy"][shot] > 0).all(), "who has no energy does not fire"


@pytest.mark.parametrize("title", sorted(TITLES))
def test_no_stream_of_inputs_gets_more_than_the_rules_give(title: str) -> None:
    @given(streams)
    @settings(max_examples=25, deadline=None)
    def check(stream: Stream) -> None:
        Cheats(title).run(stream)

    check()
    Cheats(title).run(dense_stream(1))


def test_the_streams_reach_every_refusal() -> None:
    cheats = Cheats("frontier")
    cheats.run(
        [[(1, 0, 0, WILD, 0, 0)], [(2, 1, 0, 5, 0, 0)], [(3, 0, 0, 5, 2**32 - 1, 2**32 - 1)], [(3, -1, 0, 5, 0, 0)]]
    )
    counters = cheats.inbox.counters
    assert (counters.bad_input, counters.gap, counters.duplicate) == (1, 1, 1)


def at_once(_value: Ints, wanted: Ints, _shift: Ints, _least: int) -> Ints:
    return wanted


def anything(_inbox: Inbox, batch: InputColumnsIn, _starts: Ints) -> np.typing.NDArray[np.bool_]:
    return np.ones(len(batch.seqs), np.bool_)


def fails_without(title: str) -> None:
    with pytest.raises(AssertionError):
        Cheats(title).run(dense_stream(1))


def test_frontier_without_its_easing_or_its_turning_rate_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(flight, "_ease", at_once)
        fails_without("frontier")
    with monkeypatch.context() as patch:
        patch.setattr(flight, "TURN_STEPS", TURN_STEPS + 1)
        fails_without("frontier")


def test_duel_without_its_diagonal_or_its_cooldown_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    shoot = fight.shoot

    def hot(shard: Shard) -> None:
        shard[Fighter].fire_tick = 0
        shoot(shard)

    for name, value in (("_DIAGONAL", 256), ("shoot", hot)):
        with monkeypatch.context() as patch:
            patch.setattr(fight, name, value)
            fails_without("duel")


def test_roam_with_another_speed_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roam, "SPEED", roam.SPEED + 1)
    fails_without("roam")


@pytest.mark.parametrize("title", ["duel", "roam"])
def test_an_inbox_that_lets_any_value_through_is_caught(title: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Inbox, "_valid", anything)
    with pytest.raises(AssertionError):
        Cheats(title).run([[(1, 0, 0, WILD, 0, 0)]])
