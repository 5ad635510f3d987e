"""Followers that keep up, and who follows what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from overworld.errors import StoreUnavailable
from overworld.shard.inputs import SessionEvent, TickInputs
from overworld.store.memory import MemoryOwnership, MemoryRedis, NoFaults
from overworld.store.ports import AppendRequest, CommitPolicy, Grant
from overworld.worker import tasks
from overworld.worker.following import Following, Followings, FollowLimits
from overworld.worker.standbys import ranked, standbys_of, to_follow
from tests.worker.cluster import MemoryShelf, until
from tests.worker.test_recovery import History, tampered

SHARD = 1
LIMITS = FollowLimits(begin_s=0.01, poll_s=0.01, hurry_s=0.002, pause_s_min=0.01, pause_s_max=0.05)


class Trouble(NoFaults):
    """Redis as one follower sees it."""

    def __init__(self) -> None:
        self.down = False
        self.reads = self.looks = 0

    async def before(self, call: str, subject: int | str | None) -> None:
        self.reads += call == "read"
        self.looks += call == "look"
        if self.down:
            raise StoreUnavailable("down")


class Lived:
    """A shard that somebody runs: its history goes to the journal as far as the test says."""

    def __init__(self, seed: int = 1) -> None:
        self.history = History(seed)
        self.redis, self.shelf = MemoryRedis(), MemoryShelf()
        self.owner = MemoryOwnership(self.redis, "test", CommitPolicy())
        self.trouble = Trouble()
        self.grant: Grant | None = None
        self.appended = 0
        self.running: list[asyncio.Task[None]] = []

    async def live(self, ticks: int, snapshots_at: tuple[int, ...] = ()) -> None:
        self.history.live(ticks, snapshots_at)
        await self.write()

    async def write(self) -> None:
        """Append what has happened and is not in the journal yet."""
        if self.grant is None:
            answer = await self.owner.acquire(SHARD, None, "w:1", 0, b"n" * 16)
            assert isinstance(answer, Grant)
            self.grant = answer
        for entry in self.history.entries[self.appended :]:
            previous = self.history.entries[entry.tick - 2].chain if entry.tick > 1 else b""
            request = AppendRequest(entry.tick - 1, previous, entry.tick, entry.chain, entry.tick - 1, entry.payload)
            assert (await self.owner.append(self.grant, request)).appended
            self.appended = entry.tick
        self.shelf.kept[SHARD] = list(self.history.starts)

    def follow(self) -> Following:
        theirs = MemoryOwnership(self.redis, "test", CommitPolicy(), self.trouble)
        following = Following(SHARD, self.history.new_core, theirs, self.shelf, LIMITS)
        self.running.append(asyncio.get_running_loop().create_task(following.run()))
        return following


@pytest_asyncio.fixture
async def lived() -> AsyncIterator[Lived]:
    made = Lived()
    yield made
    await tasks.end(made.running)


# ---------------------------------------------------------------- keeping up


@pytest.mark.asyncio
async def test_it_begins_at_the_newest_snapshot_and_keeps_up(lived: Lived) -> None:
    await lived.live(30, (10, 20))
    following = lived.follow()
    await until(lambda: following.tick == 30, "it has caught up")
    await lived.live(15)
    await until(lambda: following.tick == 45, "it keeps up")
    assert (following.begun, following.lag_ticks) == (1, 0)
    follower = following.take()
    assert follower is not None
    assert follower.core.digest() == lived.history.digests[45]
    assert follower.chain == lived.history.chain


@pytest.mark.asyncio
async def test_without_a_snapshot_it_begins_at_the_setup(lived: Lived) -> None:
    await lived.live(25)
    following = lived.follow()
    async with asyncio.timeout(10):
        assert await following.caught_up(0)
    follower = following.take()
    assert follower is not None
    assert follower.core.digest() == lived.history.digests[25]


@pytest.mark.asyncio
async def test_a_torn_snapshot_is_passed_over(lived: Lived) -> None:
    await lived.live(20, (10, 15))
    lived.shelf.kept[SHARD][-1] = type(lived.history.starts[0])("torn", 15, 1, b"", b"OWST....")
    following = lived.follow()
    await until(lambda: following.tick == 20, "it has caught up")


@pytest.mark.asyncio
async def test_nothing_is_read_while_the_head_stands_still(lived: Lived) -> None:
    await lived.live(5)
    following = lived.follow()
    await until(lambda: following.tick == 5, "it has caught up")
    reads = lived.trouble.reads
    await until(lambda: following.lag_ticks == 0, "it knows")
    looks = lived.trouble.looks
    await until(lambda: lived.trouble.looks > looks + 3, "it looks on")
    assert lived.trouble.reads == reads


@pytest.mark.asyncio
async def test_once_taken_it_never_touches_the_state_again(lived: Lived) -> None:
    await lived.live(10)
    following = lived.follow()
    await until(lambda: following.tick == 10, "it has caught up")
    follower = following.take()
    assert follower is not None
    await lived.live(10)
    await asyncio.wait(lived.running, timeout=5)
    assert lived.running[0].done()
    assert follower.tick == 10
    assert following.take() is None


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.asyncio
async def test_where_the_journal_was_trimmed_past_it_it_begins_again_at_the_snapshot(lived: Lived) -> None:
    await lived.live(10, (5,))
    following = lived.follow()
    await until(lambda: following.tick == 10, "it has caught up")
    lived.trouble.down = True
    await lived.live(40, (30, 40))
    assert lived.grant is not None
    await lived.owner.trim(lived.grant, 30)
    lived.trouble.down = False
    await until(lambda: following.tick == 50, "it has caught up again")
    assert following.begun == 2
    follower = following.take()
    assert follower is not None
    assert follower.core.digest() == lived.history.digests[50]


@pytest.mark.asyncio
async def test_where_the_journal_began_anew_it_begins_again(lived: Lived) -> None:
    await lived.live(20, (20,))
    following = lived.follow()
    await until(lambda: following.tick == 20, "it has caught up")
    lived.redis.wipe()
    grant = await lived.owner.acquire(SHARD, None, "w:2", 1, b"m" * 16)
    assert isinstance(grant, Grant)
    await lived.owner.restart(grant, 0, b"", 20, lived.history.chain)
    lived.grant = grant
    await lived.live(5)
    await until(lambda: following.tick == 25, "it follows the new one")


@pytest.mark.asyncio
async def test_where_the_journal_went_back_to_another_branch_it_begins_again(lived: Lived) -> None:
    await lived.live(20, (15,))
    following = lived.follow()
    await until(lambda: following.tick == 20, "it has caught up")
    lived.redis.fail_over(lose_newest=3)
    other = History(1).live(17, (15,))
    other.tick(TickInputs(events=((SessionEvent.JOIN, 999, 77),)))
    other.live(5)
    assert other.entries[19].chain != lived.history.entries[19].chain
    lived.history, lived.appended = other, 17
    await lived.write()
    await until(lambda: following.tick == 23, "it follows the branch that is played on")
    follower = following.take()
    assert follower is not None
    assert follower.core.digest() == other.digests[23]


@pytest.mark.asyncio
async def test_where_the_replay_diverges_it_stops_and_keeps_the_state(lived: Lived) -> None:
    lived.history.live(10)
    tampered(lived.history, 8, state_digest=b"\1" * 16)
    await lived.write()
    following = lived.follow()
    await until(lambda: following.stopped, "it stopped")
    assert "state differs" in following.stopped
    await until(lambda: lived.shelf.evidence, "the state is kept")
    assert following.take() is None
    assert not await following.caught_up(100)


@pytest.mark.asyncio
async def test_where_another_version_wrote_the_records_it_stops(lived: Lived) -> None:
    lived.history.live(10)
    tampered(lived.history, 8, title_version="99")
    await lived.write()
    following = lived.follow()
    await until(lambda: following.stopped, "it stopped")
    assert "version 99" in following.stopped


@pytest.mark.asyncio
async def test_an_outage_of_redis_costs_no_new_beginning(lived: Lived) -> None:
    await lived.live(10)
    following = lived.follow()
    await until(lambda: following.tick == 10, "it has caught up")
    lived.trouble.down = True
    await lived.live(10)
    lived.trouble.down = False
    await until(lambda: following.tick == 20, "it goes on")
    assert following.begun == 1


# ---------------------------------------------------------------- all of a worker


@pytest.mark.asyncio
async def test_standbys_come_and_go_and_what_is_on_its_way_here_stays(lived: Lived) -> None:
    await lived.live(10)
    followings = Followings(lambda _: lived.history.new_core(), lived.owner, lived.shelf, LIMITS)
    try:
        followings.follow({SHARD, 2})
        await until(lambda: followings.lags.get(SHARD) == 0, "it is followed")
        held = followings.hold(SHARD)
        followings.follow(())
        assert list(followings.lags) == [SHARD]
        assert followings.hold(SHARD) is held
        followings.let_go(SHARD)
        assert not followings.lags
        followings.follow({SHARD})
        await until(lambda: followings.ready(SHARD), "it is followed anew")
        assert followings.take(SHARD) is not None
        assert followings.take(SHARD) is None
    finally:
        await followings.close()


# ---------------------------------------------------------------- who follows what

addresses = st.lists(st.from_regex(r"10\.0\.0\.[1-9]:[1-9]", fullmatch=True), min_size=1, max_size=6, unique=True)


@given(workers=addresses, shards=st.integers(1, 40), count=st.integers(0, 3), data=st.data())
def test_each_shard_has_as_many_standbys_as_there_are_other_workers(
    workers: list[str], shards: int, count: int, data: st.DataObject
) -> None:
    owners = {shard: data.draw(st.sampled_from(workers)) for shard in range(shards)}
    followed = {w: to_follow(w, owners, workers, count, shards) for w in workers}
    for shard, owner in owners.items():
        followers = {w for w in workers if shard in followed[w]}
        assert owner not in followers
        assert len(followers) == min(count, len(workers) - 1)
        # Whoever it is dealt to once the owner is gone has followed it.
        heirs = ranked(shard, [w for w in workers if w != owner])
        assert not followers or heirs[0] in followers


@given(workers=addresses, shard=st.integers(0, 100))
def test_a_worker_that_leaves_moves_only_what_it_had(workers: list[str], shard: int) -> None:
    before = standbys_of(shard, "", workers, 1)
    for gone in workers:
        if gone not in before:
            assert standbys_of(shard, "", [w for w in workers if w != gone], 1) == before


@given(workers=addresses, most=st.integers(0, 5))
def test_no_more_is_followed_than_allowed(workers: list[str], most: int) -> None:
    owners = dict.fromkeys(range(30), "10.0.9.9:9")
    assert len(to_follow(workers[0], owners, workers, 2, most)) <= most
