"""Followers that keep up: the state of shards that others run, a few ticks behind, ready to be taken over.

    begin      the newest snapshot that verifies, or the title's setup
    keep up    look at the head, read what is new, apply it, a slice of time at a go
    take       whoever acquires the shard goes on from here, and reads only what is missing

What ends that, and what follows:

| what happened | what follows |
|---|---|
| the journal was trimmed past it, begun anew, or went back | begin again at the newest snapshot, after a pause |
| a record that does not fit or cannot be read | the same, each pause longer |
| the replay diverged | stop for good, the state is kept as evidence |
| the title failed, or another version of it wrote the records | stop for good: taking the shard over would fail too |
| Redis or blob storage does not answer | ask again, from where it stands |

Memory: one state a shard that is followed, and one page of records. Nothing here can do harm: who takes a shard over
checks tick, chain and floor against the head it was granted.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection
from dataclasses import dataclass

import structlog

from overworld import telemetry
from overworld.errors import (
    Corrupt,
    DivergenceError,
    FormatTooNew,
    JournalGap,
    OverworldError,
    RecordCorrupt,
    SnapshotCorrupt,
    StoreError,
    TitleError,
)
from overworld.shard.core import ShardCore
from overworld.store.ports import READ_RECORDS_MAX, Head, JournalEntry, Ownership
from overworld.worker import tasks
from overworld.worker.follower import Follower
from overworld.worker.recovery import Diverged, apply, begin, keep_evidence
from overworld.worker.shelf import Shelf

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class FollowLimits:
    """Seconds. `begin_s`: before a new standby begins: standbys change when workers come and go, and then the machine
    is wanted for shards that change hands. `poll_s`: between two looks at the journal; `hurry_s`: the same shortly
    before a take-over. `pause_s_min`, `pause_s_max`: before a new beginning, doubled each time.
    """

    begin_s: float = 1.0
    poll_s: float = 0.1
    hurry_s: float = 0.02
    pause_s_min: float = 0.2
    pause_s_max: float = 10.0


class Following:
    """One shard, followed. `run` until it is taken or stops."""

    def __init__(
        self, shard: int, new_core: Callable[[], ShardCore], ownership: Ownership, shelf: Shelf, limits: FollowLimits
    ) -> None:
        self.shard = shard
        self._new_core = new_core
        self._ownership = ownership
        self._shelf = shelf
        self._limits = limits
        self._follower: Follower | None = None
        self._pause_s = limits.pause_s_min
        self._moved = asyncio.Event()
        self._woken = asyncio.Event()
        self._over = False
        self.head: Head | None = None
        """The shard's head as last seen."""
        self.hurried = False
        """True while it polls as often as it may."""
        self.stopped = ""
        """Why it will not follow any further; empty while it does."""
        self.begun = 0
        """How often it began at a snapshot or at the setup."""

    @property
    def tick(self) -> int:
        """The last tick applied; -1 before there is a state."""
        return self._follower.tick if self._follower else -1

    @property
    def lag_ticks(self) -> int | None:
        """How many ticks the journal was ahead at the last look; None without a state, or once it has stopped."""
        if self._follower is None or self.head is None or self.stopped:
            return None
        return max(0, self.head.tick - self._follower.tick)

    def hurry(self) -> None:
        """A take-over is near: begin at once, and poll as often as allowed from now on."""
        self.hurried = True
        self._woken.set()

    async def caught_up(self, lag_ticks_max: int) -> bool:
        """Wait until it is at most so many ticks behind. False where it stops before; the caller bounds the time."""
        while not (self.stopped or self._over):
            self._moved.clear()
            if self.lag_ticks is not None and self.lag_ticks <= lag_ticks_max:
                return True
            await self._moved.wait()
        return False

    def take(self) -> Follower | None:
        """The state, for whoever runs the shard from now on; None where there is none to trust. It is not followed here
        any more.
        """
        self._over = True
        self._moved.set()
        self._woken.set()
        follower, self._follower = self._follower, None
        return None if self.stopped else follower

    # ------------------------------------------------------------ the loop

    async def run(self) -> None:
        """Begin, and keep up. Ends where the shard is taken, or cannot be followed."""
        if not self.hurried:
            await self._rest(self._limits.begin_s)
        while not (self._over or self.stopped):
            try:
                if self._follower is None:
                    await self._begin()
                else:
                    await self._keep_up(self._follower)
            except DivergenceError as error:
                await self._diverged(error)
            except (TitleError, FormatTooNew) as error:
                self._stop(str(error))
            except Corrupt as error:
                self._begin_again(error)
                await self._rest(self._pause_s)
            except StoreError as error:
                log.debug("follower_waits", shard=self.shard, reason=str(error))
                await self._rest(self._limits.pause_s_min)

    async def _begin(self) -> None:
        """A state to go on from. Raises Corrupt where there is none (yet)."""
        found = await self._shelf.newest_first(self.shard)
        # After the snapshots, so that it cannot be behind them.
        self.head = await self._ownership.look(self.shard)
        if self.head is None:
            raise JournalGap("nobody ever ran it, or Redis was wiped")
        problems = []
        for start in [*found, *([None] if self.head.floor == 0 else [])]:
            core = self._new_core()
            try:
                # Off the loop's thread, unlike at a take-over: shards of this worker tick meanwhile.
                follower, _ = await asyncio.to_thread(begin, core, start)
            except SnapshotCorrupt as error:
                problems.append(str(error))
                continue
            if self.head.floor <= follower.tick <= self.head.tick and not self._over:
                self._follower = follower
                self.begun += 1
                log.info("following", shard=self.shard, tick=follower.tick, head=self.head.tick)
            else:
                problems.append(f"a state of tick {follower.tick}, a journal of {self.head.floor} to {self.head.tick}")
            break
        if self._follower is None and not self._over:
            raise SnapshotCorrupt("; ".join(problems) or "no snapshot, and the journal begins after the setup")

    async def _keep_up(self, follower: Follower) -> None:
        """One look, and what is new since the last one."""
        head = await self._ownership.look(self.shard)
        if head is None or head.tick < follower.tick:
            raise JournalGap(f"the journal went back to tick {head.tick if head else 0}")
        if head.floor > follower.tick:
            raise JournalGap(f"trimmed up to tick {head.floor}")
        if head.tick == follower.tick:
            if head.tick and head.chain != follower.chain:
                raise RecordCorrupt(f"tick {head.tick}: the journal's head has another chain value")
            self._saw(head)
            await self._rest(self._limits.hurry_s if self.hurried else self._limits.poll_s)
            return
        page = await self._ownership.read(self.shard, follower.tick, READ_RECORDS_MAX)
        if self._over:
            return
        if not page:
            raise JournalGap(f"no records after tick {follower.tick}, the head is at {head.tick}")
        await self._apply(follower, page)
        if not self._over:
            self._pause_s = self._limits.pause_s_min
            self._saw(head)
        if follower.tick >= head.tick:
            await self._rest(self._limits.hurry_s if self.hurried else self._limits.poll_s)

    async def _apply(self, follower: Follower, page: list[JournalEntry]) -> None:
        if self._over:
            return
        try:
            await apply(follower, page, page[-1].tick, lambda: self._over)
        except DivergenceError as error:
            raise Diverged(str(error), follower.core) from error

    def _saw(self, head: Head) -> None:
        self.head = head
        self._moved.set()

    async def _rest(self, seconds: float) -> None:
        self._woken.clear()
        if self._over:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    # ------------------------------------------------------------ what ends it

    def _begin_again(self, error: Corrupt) -> None:
        if self._follower is not None:
            telemetry.standby_restarts_total.inc()
            log.warning("follower_begins_again", shard=self.shard, tick=self.tick, reason=str(error))
        else:
            log.debug("follower_cannot_begin", shard=self.shard, reason=str(error))
        self._follower = None
        self._pause_s = min(2 * self._pause_s, self._limits.pause_s_max)

    async def _diverged(self, error: DivergenceError) -> None:
        self._stop(str(error))
        try:
            await keep_evidence(error, self.head.epoch if self.head else 0, self._shelf)
        except OverworldError as failed:
            log.error("evidence_lost", shard=self.shard, reason=str(failed))

    def _stop(self, reason: str) -> None:
        self.stopped = reason or "unknown"
        self._moved.set()
        log.error("follower_stopped", shard=self.shard, tick=self.tick, reason=reason)


class Followings:
    """All shards that one worker follows: its standbys, and those on their way here."""

    def __init__(
        self, new_core: Callable[[int], ShardCore], ownership: Ownership, shelf: Shelf, limits: FollowLimits
    ) -> None:
        self._new_core = new_core
        self._ownership = ownership
        self._shelf = shelf
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._all: dict[int, Following] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._standbys: frozenset[int] = frozenset()
        self._held: set[int] = set()

    @property
    def lags(self) -> dict[int, int | None]:
        """Ticks behind by shard; None where there is no state (yet, or any more)."""
        return {shard: following.lag_ticks for shard, following in sorted(self._all.items())}

    def ready(self, shard: int) -> bool:
        """True where a shard could be taken over from a state that is here."""
        following = self._all.get(shard)
        return following is not None and following.lag_ticks is not None

    def follow(self, shards: Collection[int]) -> None:
        """Exactly these as standbys from now on."""
        self._standbys = frozenset(shards)
        for shard in self._standbys - self._all.keys():
            self._start(shard)
        for shard in self._all.keys() - self._standbys - self._held:
            self._all.pop(shard).take()

    def hold(self, shard: int) -> Following:
        """Follow this shard whether or not it is a standby, until `let_go` or `take`. A follower that stopped begins
        anew.
        """
        self._held.add(shard)
        following = self._all.get(shard)
        if following is None or following.stopped:
            following = self._start(shard)
        following.hurry()
        return following

    def let_go(self, shard: int) -> None:
        """It is not on its way here any more."""
        self._held.discard(shard)
        if shard in self._standbys and shard in self._all:
            self._all[shard].hurried = False
        elif shard in self._all:
            self._all.pop(shard).take()

    def take(self, shard: int) -> Follower | None:
        """The state of a shard that was just acquired here; None where it was not followed."""
        following = self._all.pop(shard, None)
        return following.take() if following is not None else None

    async def close(self) -> None:
        """Follow nothing."""
        self._standbys = frozenset()
        for following in self._all.values():
            following.take()
        self._all.clear()
        await tasks.end(list(self._tasks))

    def _start(self, shard: int) -> Following:
        following = Following(
            shard, lambda: self._new_core(shard), self._ownership, self._shelf, self._limits
        )  # fmt: skip
        self._all[shard] = following
        task = self._loop.create_task(following.run(), name=f"follow shard {shard}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return following

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A mistake of ours: a standby that is lost costs a slower take-over, and nothing else.
            log.error("follower_crashed", name=task.get_name(), reason=repr(error), exc_info=error)
