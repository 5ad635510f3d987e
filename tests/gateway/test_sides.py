"""What only a team may see: a client sees exactly its team's values, and no other's reach its socket."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from overworld.client.mirror import Mirror
from overworld.errors import LinkError
from overworld.gateway.ticks import decode
from overworld.shard.inputs import SessionEvent, TickInputs
from overworld.wire.v1.link_pb2 import TeamOutput, TickOutput
from overworld.world.fields import TEAM_MAX
from tests.gateway.model import i64, u32
from tests.gateway.raid import SQUADS, Flag, Raid, RaidWorld, Seat, Soldier, on_wire
from tests.shard.meadow import meadow_core

SHARDS = range(4)
SETTLED = 6
"""Turns after which nothing is on its way: keyframes asked for have come, and so has who crosses a border."""


def settled(world: RaidWorld, turns: int = SETTLED) -> None:
    for _ in range(turns):
        for shard in SHARDS:
            world.turn(shard)


def judge(world: RaidWorld) -> None:
    """Everybody knows exactly what is his team's, of all he sees; and nobody waits for more."""
    assert world.views.turncoats == {}
    for session, seat in world.seats.items():
        at = world.home(session)
        if seat.viewer.behind or at is None:
            continue
        soldiers = world.cores[at[0]].shard[Soldier]
        row = int(world.cores[at[0]].shard.avatar_rows(np.array([at[1]]), Soldier)[0])
        team = int(soldiers.squad[row]) if row >= 0 else 0
        assert seat.viewer.team == team
        assert (seat.mirror.avatar.team if seat.mirror.avatar else 0) == team
        for shard in SHARDS:
            assert world.known(session, shard) == world.allowed(session, shard), f"session {session}, shard {shard}"


def stage(*squads: int, budget_bytes_per_s: int = 0) -> tuple[RaidWorld, list[Seat]]:
    """A client of each squad in shard 0, side by side."""
    world = RaidWorld(1, budget_bytes_per_s)
    for session in range(1, len(squads) + 1):
        world.connect(session, 0)
    world.turn(0)
    for session, squad in enumerate(squads, 1):
        world.enlist(0, Soldier, rows_of(world, session), squad)
    settled(world)
    return world, list(world.seats.values())


def rows_of(world: RaidWorld, *sessions: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Their avatars' rows in shard 0."""
    shard = world.cores[0].shard
    return shard.avatar_rows(shard.players.rows_of(np.array(sessions)), Soldier)


def team_of(mirror: Mirror, entity: int) -> tuple[int, ...] | None:
    seen = mirror.entity(1, entity)
    assert seen is not None
    return seen.team


class TestSquads:
    def test_each_sees_its_own_squad_and_nothing_of_others(self) -> None:
        world, seats = stage(1, 1, 2, 0)
        judge(world)
        soldiers = world.cores[0].shard[Soldier]
        ids = soldiers.ids[rows_of(world, 1, 2, 3, 4)].tolist()
        told = [[team_of(seat.mirror, entity) is not None for entity in ids] for seat in seats]
        assert told == [
            [True, True, False, False],
            [True, True, False, False],
            [False, False, True, False],
            [False] * 4,
        ]

    def test_values_that_change_are_told_at_once_and_nothing_else_is(self) -> None:
        world, (a, b) = stage(1, 2)
        for shard in SHARDS:
            world.stop(shard)
        settled(world)
        before = world.team_bytes
        settled(world, 1)
        assert world.team_bytes == before, "nothing changed, and nothing was encoded for teams"
        world.new_secrets(0, Soldier, rows_of(world, 1, 2))
        world.turn(0)
        judge(world)
        own = [seat.mirror.own() for seat in (a, b)]
        assert [seen.team is not None for seen in own if seen is not None] == [True, True]

    def test_who_leaves_a_squad_is_unknown_to_it_and_known_to_the_new_one_in_the_same_tick(self) -> None:
        world, (_, b, c) = stage(1, 1, 2)
        entity = int(world.cores[0].shard[Soldier].ids[rows_of(world, 1)[0]])
        assert team_of(b.mirror, entity) is not None
        world.enlist(0, Soldier, rows_of(world, 1), 2)
        world.turn(0)
        assert (team_of(b.mirror, entity), team_of(c.mirror, entity) is not None) == (None, True)
        settled(world)
        judge(world)

    def test_a_client_whose_squad_changes_forgets_all_of_the_old_one_in_the_same_frame(self) -> None:
        world, (a, b) = stage(1, 1)
        mate = int(world.cores[0].shard[Soldier].ids[rows_of(world, 2)[0]])
        assert team_of(a.mirror, mate) is not None
        world.enlist(0, Soldier, rows_of(world, 1), 3)
        world.turn(0)
        assert a.viewer.team == 3
        assert team_of(a.mirror, mate) is None
        assert not any(values for shard in SHARDS[1:] for values in world.known(1, shard).values())
        world.turn(0)
        assert world.known(1, 0) == world.allowed(1, 0), "one tick later it has all of the new one's"
        settled(world, 2)
        judge(world)
        assert team_of(b.mirror, mate) is not None

    def test_who_deserts_on_the_border_is_told_nothing_of_the_old_squad_on_the_way(self) -> None:
        world, (a, _) = stage(1, 1)
        row = rows_of(world, 1)
        soldiers = world.cores[0].shard[Soldier]
        x1 = world.cores[0].shard.bounds[2]
        soldiers.at.x[row], soldiers.at.vx[row], soldiers.at.vy[row] = x1 - 10, 0, 0
        settled(world)
        soldiers.at.vx[rows_of(world, 1)] = 25
        world.enlist(0, Soldier, rows_of(world, 1), 2)
        world.turn(0)
        assert world.home(1) is None, "it is between two shards"
        assert a.viewer.team == 2
        assert not any(values for shard in SHARDS for values in world.known(1, shard).values())
        settled(world)
        judge(world)
        assert world.home(1) == (1, 0)

    def test_without_an_avatar_nobody_is_of_any_squad(self) -> None:
        world, (a, _) = stage(1, 1)
        assert any(values for values in world.known(1, 0).values())
        world.cores[0].shard[Soldier].remove(rows_of(world, 1))
        world.turn(0)
        assert a.viewer.team == 0
        assert a.mirror.avatar is None
        assert not any(values for shard in SHARDS for values in world.known(1, shard).values())

    def test_a_squads_values_are_encoded_once_for_all_who_are_of_it(self) -> None:
        world, _ = stage(1, 1, 1, 2)
        (group,) = [group for group in world.views.groups(0) if group.teams]
        assert {team: len(members) for team, members in group.teams.items()} == {1: 3, 2: 1}
        world.new_secrets(0, Soldier, rows_of(world, 1))
        core = world.cores[0]
        world.step(0)
        core.encode()
        told = core.for_teams(np.zeros(0, np.int64))
        assert told is not None
        assert told.updates is not None
        data = told.updates.data
        one = on_wire(int(core.shard[Soldier].supply[rows_of(world, 1)[0]]))
        assert data.count(one) == 1


def test_of_a_world_without_teams_nothing_is_said_of_them() -> None:
    core = meadow_core()
    outcome = core.step(TickInputs(events=((SessionEvent.JOIN, 100, 1),)))
    core.encode()
    assert core.for_teams(np.arange(4)) is None
    assert len(outcome.sides[0]) == 0
    assert all(table.shadow.team is None for table in core.shard.tables)


class TestCrowds:
    def test_in_a_split_cell_values_are_told_once_a_second_and_a_change_of_squad_at_once(self) -> None:
        world, (a, b) = stage(1, 2, budget_bytes_per_s=10**6)
        shard = world.cores[0].shard
        world.stop(0)
        for group in list(world.views.groups(0)):
            world.views.shorten(group)
        world.listen()
        settled(world)
        told = 0
        for _ in range(40):
            world.new_secrets(0, Soldier, rows_of(world, 1))
            world.turn(0)
            row = rows_of(world, 1)[0]
            told += team_of(a.mirror, int(shard[Soldier].ids[row])) == (
                shard[Soldier].supply[row],
                shard[Soldier].aim[row],
            )
        assert told == 2, "at 20 ticks a second"
        entity = int(shard[Soldier].ids[rows_of(world, 1)[0]])
        world.enlist(0, Soldier, rows_of(world, 1), 2)
        world.turn(0)
        assert team_of(b.mirror, entity) is not None
        settled(world, 21)
        judge(world)

    def test_what_teams_are_told_counts_for_the_budget(self) -> None:
        world, (a, _) = stage(1, 2, budget_bytes_per_s=10**6)
        for group in list(world.views.groups(0)):
            world.views.shorten(group)
        world.listen()
        settled(world)
        party = a.viewer.party
        assert party is not None
        spent = []
        for change in (False, True):
            party.tokens, party.filled_s = 30_000.0, world.now_s + 0.0125
            if change:
                world.enlist(0, Soldier, rows_of(world, 1, 2), 3)
            world.turn(0)
            spent.append(30_000 - party.tokens)
        assert spent[1] > spent[0] + 10
        assert party.owed == 0


class TestBadWorkers:
    @pytest.mark.parametrize(
        "broken",
        [
            TeamOutput(places_i64=i64([2, 1]), sizes_u32=u32([1, 1]), pieces=b"ab"),
            TeamOutput(places_i64=i64([1]), sizes_u32=u32([3]), pieces=b"ab"),
            TeamOutput(keyframe_places_i64=i64([-1]), keyframe_sizes_u32=u32([1]), keyframes=b"a"),
            TeamOutput(side_sessions_i64=i64([1])),
            TeamOutput(side_sessions_i64=i64([1]), side_teams_u32=u32([TEAM_MAX + 1])),
        ],
    )
    def test_columns_that_do_not_fit_are_refused(self, broken: TeamOutput) -> None:
        with pytest.raises(LinkError):
            decode(TickOutput(teams=broken), Raid.world)


class AnyHistory(RuleBasedStateMachine):
    """Soldiers fall, desert, cross borders; shards die and come back; clients lose sockets and stop reading."""

    sessions = st.integers(1, 4)
    shards = st.sampled_from(SHARDS)
    squads = st.integers(0, SQUADS)

    @initialize(seed=st.integers(0, 2**20), in_lane=st.booleans())
    def begin(self, seed: int, in_lane: bool) -> None:
        self.world = RaidWorld(seed, in_lane=in_lane)
        for session in (1, 2, 3, 4):
            self.world.connect(session, session % 2)
        settled(self.world, 2)

    def soldiers(self, shard: int, at: float) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        count = len(self.world.cores[shard].shard[Soldier])
        return np.array([int(at * count)], np.int64) if count else np.zeros(0, np.int64)

    @rule(shard=shards, at=st.floats(0, 0.999))
    def new_values(self, shard: int, at: float) -> None:
        self.world.new_secrets(shard, Soldier, self.soldiers(shard, at))

    @rule(shard=shards, at=st.floats(0, 0.999), squad=squads)
    def desert(self, shard: int, at: float, squad: int) -> None:
        self.world.enlist(shard, Soldier, self.soldiers(shard, at), squad)

    @rule(shard=shards, squad=squads)
    def take_flag(self, shard: int, squad: int) -> None:
        self.world.enlist(shard, Flag, np.array([0]), squad)

    @rule(session=sessions, squad=squads)
    def player_deserts(self, session: int, squad: int) -> None:
        at = self.world.home(session)
        if at is not None:
            shard = self.world.cores[at[0]].shard
            row = shard.avatar_rows(np.array([at[1]]), Soldier)
            self.world.enlist(at[0], Soldier, row[row >= 0], squad)

    @rule(session=sessions, vx=st.integers(-1500, 1500), vy=st.integers(-1500, 1500))
    def run(self, session: int, vx: int, vy: int) -> None:
        at = self.world.home(session)
        if at is not None:
            shard = self.world.cores[at[0]].shard
            row = shard.avatar_rows(np.array([at[1]]), Soldier)
            soldiers = shard[Soldier]
            soldiers.at.vx[row[row >= 0]], soldiers.at.vy[row[row >= 0]] = vx, vy

    @rule(shard=shards, at=st.floats(0, 0.999))
    def fall(self, shard: int, at: float) -> None:
        self.world.cores[shard].shard[Soldier].remove(self.soldiers(shard, at))

    @rule(session=sessions)
    def reconnect(self, session: int) -> None:
        at = self.world.home(session)
        if at is not None:
            self.world.connect(session, at[0])

    @rule(shard=shards)
    def worker_dies(self, shard: int) -> None:
        self.world.recover(shard)

    @rule(session=sessions)
    def reads_too_slowly(self, session: int) -> None:
        viewer = self.world.seats[session].viewer
        if not viewer.behind:
            viewer.behind = True
            self.world.fanout.pause(viewer)

    @rule(session=sessions)
    def reads_again(self, session: int) -> None:
        viewer = self.world.seats[session].viewer
        if viewer.behind:
            self.world.fanout.resume(viewer)
            self.world.listen()

    @rule(turns=st.lists(shards, max_size=8))
    def time_passes(self, turns: list[int]) -> None:
        for shard in turns:
            self.world.turn(shard)

    @rule()
    def comes_to_rest(self) -> None:
        settled(self.world)
        judge(self.world)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            for seat in self.world.seats.values():
                if seat.viewer.behind:
                    self.world.fanout.resume(seat.viewer)
            self.world.listen()
            settled(self.world)
            judge(self.world)


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=12, stateful_step_count=25, deadline=None)
