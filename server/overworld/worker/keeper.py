"""Takes shards, runs them, and gives them back: the shell around `leases`, which decides.

One look at all heads every `poll_s`; at once when somebody falls under suspicion. What is looked at also says which
shards are followed here, as standbys.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import structlog

from overworld import telemetry
from overworld.errors import OverworldError, StoreError, StoreUnavailable
from overworld.store.ports import NONCE_BYTES, Grant, Head, Ownership, Refused
from overworld.worker import tasks
from overworld.worker.follower import Follower
from overworld.worker.following import Followings
from overworld.worker.host import ShardHost
from overworld.worker.leases import Candidate, LeaseBook, Vacancy
from overworld.worker.links import Links
from overworld.worker.reception import Reception
from overworld.worker.roster import Roster
from overworld.worker.shard_loop import End
from overworld.worker.shelf import Shelf

log = structlog.get_logger(__name__)

LOOKS_AT_ONCE_MAX = 64


@dataclass(frozen=True)
class Members:
    """What is known of other workers. `roster`: as last heard; `closed`: true while this worker takes nothing that is
    vacant.
    """

    roster: Callable[[], Roster]
    closed: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Makers:
    """What makes the parts of a shard: its reception, and what runs it once it is acquired."""

    reception: Callable[[int], Reception]
    host: Callable[[Grant, Reception, Follower | None], ShardHost]


class Keeper:
    """The shards of one worker."""

    def __init__(
        self,
        shard_count: int,
        address: str,
        book: LeaseBook,
        ownership: Ownership,
        shelf: Shelf,
        links: Links,
        followings: Followings,
        makers: Makers,
        members: Members,
        poll_s: float,
    ) -> None:
        self._shard_count = shard_count
        self._address = address
        self._book = book
        self._ownership = ownership
        self._shelf = shelf
        self._links = links
        self._followings = followings
        self._makers = makers
        self._members = members
        self._poll_s = poll_s
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._taking: dict[int, asyncio.Task[None]] = {}
        self._draining = False
        self._looks_failed = False
        self.closed_to_moves = ""
        """Why no shard is to be moved here; empty where it may."""
        self.looked = False
        """True once all heads have been seen."""
        self.hosts: dict[int, ShardHost] = {}

    # ------------------------------------------------------------ from outside

    def suspect(self, address: str) -> None:
        """The worker at this address seems to be gone: look at once."""
        if self._draining:
            return
        log.warning("worker_suspected", address=address)
        self._book.suspect(address)
        self._woken.set()

    def trust(self, address: str) -> None:
        """The worker at this address answers."""
        self._book.answered(address, self._loop.time())

    def head(self, shard: int) -> Head | None:
        """A shard's head when it was last seen."""
        return self._book.head(shard)

    def owner(self, shard: int) -> str:
        """Address of the worker that owned a shard when the heads were last seen; empty where none did."""
        head = self._book.head(shard)
        return head.address if head is not None else ""

    async def run(self) -> None:
        """Look and take, until cancelled or drained."""
        while not self._draining:
            self._woken.clear()
            if await self._look():
                roster = self._members.roster()
                if not self._members.closed():
                    for candidate in self._book.candidates(self._loop.time(), roster.live, self.mine, roster.older):
                        self._start(candidate.shard, partial(self._acquire, candidate))
                # What is being taken is followed until it is run: its state is needed then.
                self._followings.follow(self._book.to_follow(roster.live, self.hosts.keys()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._woken.wait()

    def retire(self) -> None:
        """Take nothing any more; what runs goes on running."""
        self._draining = True
        self._woken.set()
        self._followings.follow(())

    async def drain(self, timeout_s: float) -> bool:
        """Give every shard back in order. True where that was done within `timeout_s`."""
        self.retire()
        for host in self.hosts.values():
            host.stop()
        taking = list(self._taking.values())
        if taking:
            await asyncio.wait(taking, timeout=timeout_s)
        return all(task.done() for task in taking)

    async def abort(self) -> None:
        """Drop every shard where it stands. What was committed is in the journal; others take over."""
        self._draining = True
        await tasks.end(list(self._taking.values()))

    # ------------------------------------------------------------ for moving shards

    @property
    def draining(self) -> bool:
        """True from the moment that nothing is taken any more."""
        return self._draining

    @property
    def mine(self) -> set[int]:
        """Shards that are run here, or being taken."""
        return set(self._taking)

    def why_not(self, shard: int) -> str:
        """Why a shard cannot be taken here now; empty where it can."""
        if self._draining:
            return "this worker takes no shards any more"
        if self.closed_to_moves:
            return self.closed_to_moves
        if shard in self._taking:
            return "it is here already"
        return self._book.why_not(shard, self.mine, self._loop.time())

    def counts(self, workers: list[str]) -> dict[str, int]:
        """How many shards each of these workers owned when the heads were last seen."""
        return self._book.counts(workers, self.mine)

    def look_soon(self) -> None:
        """Something has changed: do not wait for the next look."""
        self._woken.set()

    def take(self, shard: int, acquire: Callable[[], Awaitable[Grant | None]]) -> asyncio.Future[ShardHost | None]:
        """Run a shard that `acquire` gets from its owner. Its gateways may come before it is here. Answers with its
        host, None where it was not acquired.
        """
        begun: asyncio.Future[ShardHost | None] = self._loop.create_future()
        self._start(shard, acquire, begun)
        return begun

    # ------------------------------------------------------------ look

    async def _look(self) -> bool:
        """See all heads. False where that failed: then silence proves nothing."""
        gate = asyncio.Semaphore(LOOKS_AT_ONCE_MAX)

        async def one(shard: int) -> Head | None:
            async with gate:
                return await self._ownership.look(shard)

        asked_s = self._loop.time()
        try:
            heads = await asyncio.gather(*(one(shard) for shard in range(self._shard_count)))
        except StoreError as error:
            self._book.look_failed()
            if not self._looks_failed:
                log.warning("heads_unknown", reason=str(error))
            self._looks_failed = True
            return False
        if self._looks_failed:
            self._looks_failed = False
            log.info("heads_known_again")
        # As of when we asked: an answer that was long on its way is no proof of silence until now.
        self._book.looked(dict(enumerate(heads)), asked_s)
        self.looked = True
        return True

    # ------------------------------------------------------------ take

    def _start(
        self,
        shard: int,
        acquire: Callable[[], Awaitable[Grant | None]],
        begun: asyncio.Future[ShardHost | None] | None = None,
    ) -> None:
        assert shard not in self._taking
        self._taking[shard] = self._loop.create_task(self._take(shard, acquire, begun), name=f"shard {shard}")

    async def _take(
        self,
        shard: int,
        acquire: Callable[[], Awaitable[Grant | None]],
        begun: asyncio.Future[ShardHost | None] | None,
    ) -> None:
        """Acquire one shard and run it to its end."""
        grant = None
        try:
            reception = self._makers.reception(shard)
            if begun is not None:
                # Its gateways are told of us by the owner before, in the moment that it changes hands.
                self._links.host(shard, reception)
            grant = await acquire()
            if grant is not None:
                telemetry.shard_ended_total.labels(await self._run(grant, reception, begun)).inc()
        except OverworldError as error:
            wait_s = self._book.bar(shard, self._loop.time())
            telemetry.shard_ended_total.labels("failed").inc()
            log.error("shard_failed", shard=shard, reason=str(error), again_in_s=wait_s)
        except Exception as error:
            wait_s = self._book.bar(shard, self._loop.time())
            telemetry.shard_ended_total.labels("crashed").inc()
            log.error("shard_crashed", shard=shard, reason=repr(error), again_in_s=wait_s, exc_info=error)
        finally:
            del self._taking[shard]
            if begun is not None and grant is None:
                self._links.unhost(shard, 0)
            if begun is not None and not begun.done():
                begun.set_result(None)

    async def _acquire(self, candidate: Candidate) -> Grant | None:
        shard = candidate.shard
        # Survives a wiped Redis: epochs must go on growing. Not asked for where a follower stands ready and the head is
        # there: that costs players time, and a head that lost its epochs is found out when the manifest is claimed.
        ready = candidate.seen is not None and self._followings.ready(shard)
        min_epoch = 0 if ready else await self._shelf.epoch(shard)
        if candidate.why is Vacancy.NEW and min_epoch and not self._book.silent(shard, self._loop.time()):
            # It had owners before, so Redis was wiped: the last one may live, and its state is newer than any
            # snapshot.
            return None
        nonce, version = secrets.token_bytes(NONCE_BYTES), self._book.version
        try:
            answer = await self._ownership.acquire(shard, candidate.seen, self._address, min_epoch, nonce, version)
        except StoreUnavailable:
            # Unknown whether it was taken; the same nonce finds out.
            answer = await self._ownership.acquire(shard, candidate.seen, self._address, min_epoch, nonce, version)
        if isinstance(answer, Refused):
            telemetry.acquire_refused_total.inc()
            return None
        telemetry.takeovers_total.labels(candidate.why.value).inc()
        log.info("shard_acquired", shard=shard, epoch=answer.epoch, why=candidate.why.value, tick=answer.head.tick)
        return answer

    async def _run(
        self, grant: Grant, reception: Reception, begun: asyncio.Future[ShardHost | None] | None = None
    ) -> str:
        host = self._makers.host(grant, reception, self._followings.take(grant.shard))
        self.hosts[grant.shard] = host
        self._links.host(grant.shard, reception)
        self._links.tell(grant.shard, grant.epoch, self._address)
        if begun is not None and not begun.done():
            begun.set_result(host)
        if self._draining:
            host.stop()
        try:
            # Whatever is logged on behalf of the shard, stores and clients included, says which it was.
            with structlog.contextvars.bound_contextvars(shard=grant.shard, epoch=grant.epoch):
                end = await host.run()
        finally:
            del self.hosts[grant.shard]
            address, epoch = host.moved_to or ("", host.epoch)
            self._links.unhost(grant.shard, epoch, address)
        if end is End.TITLE_FAILED:
            self._book.bar(grant.shard, self._loop.time())
        elif end is End.FENCED:
            log.warning("shard_fenced", shard=grant.shard, epoch=host.epoch)
        else:
            self._book.unbar(grant.shard)
        return end.value
