"""A shard changes hands while it lives: the old owner's side.

    wish        another worker, which follows the shard, asks for it
    stand still after the next tick, so that most of an interval is left for the rest
    settle      wait until every tick is committed and its results are sent
    save        only for a newer version of the title, which cannot replay what this one wrote: the state
    grant       acquire the shard in the other worker's name, at the very head that was left: nobody can come between,
                and the old owner is fenced by the same write

Up to the grant anything that goes wrong means that the shard runs on here. Where it is unknown whether the grant was
written, it runs on as well: its next append is refused if it was, and the other worker finds its own address in the
head and takes the shard in the ordinary way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from overworld.errors import OverworldError
from overworld.store.ports import Grant, Ownership
from overworld.worker.journal import Journal

log = structlog.get_logger(__name__)

TRIES_MAX = 3
"""A beat of our own may come between the look at the head and the swap."""


@dataclass(frozen=True)
class Wish:
    """Another worker wants the shard: its address and nonce as they are to stand in the head."""

    address: str
    nonce: bytes
    min_epoch: int
    version: int = 0
    """Of the title that it runs."""
    saved: bool = False
    """It needs a snapshot of the last tick."""


@dataclass(frozen=True)
class Yielded:
    """The shard is the other worker's; how long that took here, in seconds."""

    grant: Grant
    settled_s: float
    handed_s: float


class Yielding:
    """At most one wish for one shard, from when it is made to its answer."""

    def __init__(self) -> None:
        self._wish: Wish | None = None
        self._answer: asyncio.Future[Yielded | str] | None = None
        self._handing = False
        self._changed = asyncio.Event()

    @property
    def wished(self) -> bool:
        """True while a wish waits for its answer."""
        return self._answer is not None

    async def answer_to(self, wish: Wish, timeout_s: float) -> Yielded | str:
        """Wait for what becomes of a wish, at most `timeout_s` for the shard to stand still. Returns why not where it
        is not granted.
        """
        assert not self.wished
        self._wish = wish
        answer: asyncio.Future[Yielded | str] = asyncio.get_running_loop().create_future()
        self._answer = answer
        await asyncio.wait([answer], timeout=timeout_s)
        if not answer.done() and not self._handing:
            self.refuse("it did not come to the end of a tick in time")
        return await answer

    def refuse(self, reason: str) -> None:
        """The wish, where there is one, is not granted. Void while the head changes hands: that decides."""
        if not self._handing:
            self._done(reason)

    def changed(self) -> None:
        """The shard's journal got on."""
        self._changed.set()

    async def hand_over(
        self,
        ownership: Ownership,
        mine: Grant,
        journal: Journal,
        settle_timeout_s: float,
        save: Callable[[], Awaitable[None]],
    ) -> Yielded | None:
        """The shard stands still after a tick: grant the wish. None where that cannot be: go on. `save`: makes a
        snapshot of that tick, where the wish needs one; may raise OverworldError.
        """
        if self._wish is None:
            return None
        wish, began_s = self._wish, time.monotonic()
        self._handing = True
        try:
            if not await self._all_is_out(journal, settle_timeout_s):
                self._done("its results could not be committed in time")
                return None
            if wish.saved:
                await save()
            settled_s = time.monotonic()
            grant = await _grant(ownership, mine, journal, wish)
        except OverworldError as error:
            log.warning("yield_failed", shard=mine.shard, to=wish.address, reason=str(error))
            self._done(f"it could not be handed over: {error}")
            return None
        finally:
            self._handing = False
        if grant is None:
            self._done("its head is not what its owner left")
            return None
        yielded = Yielded(grant, settled_s - began_s, time.monotonic() - settled_s)
        self._done(yielded)
        log.info("shard_yielded", shard=mine.shard, epoch=mine.epoch, tick=grant.head.tick, to=wish.address)
        return yielded

    async def _all_is_out(self, journal: Journal, timeout_s: float) -> bool:
        """Wait until every tick is committed and its results are sent."""
        try:
            async with asyncio.timeout(timeout_s):
                while (journal.held or journal.safe < journal.tick) and journal.trouble is None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return journal.trouble is None

    def _done(self, answer: Yielded | str) -> None:
        if self._answer is not None:
            if not self._answer.done():
                self._answer.set_result(answer)
            self._answer = self._wish = None


async def _grant(ownership: Ownership, mine: Grant, journal: Journal, wish: Wish) -> Grant | None:
    for _ in range(TRIES_MAX):
        head = await ownership.look(mine.shard)
        if head is None or (head.epoch, head.nonce, head.tick, head.chain) != (
            mine.epoch,
            mine.nonce,
            journal.tick,
            journal.chain,
        ):
            return None
        answer = await ownership.acquire(mine.shard, head, wish.address, wish.min_epoch, wish.nonce, wish.version)
        if isinstance(answer, Grant):
            return answer
    return None
