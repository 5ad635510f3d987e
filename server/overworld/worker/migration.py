"""Moves shards from worker to worker while they are played. This is the side of whoever asks, and of the new owner; the
old owner's is in `yielding`.

    follow      the new owner follows the shard until it is at most a tick behind; not where an older version of the
                title runs it: nobody but that version can replay its records
    ask         it asks the old owner to yield, and takes gateways' attaches from now on
    (settle, save, hand: at the old owner, which names the new one to its gateways; it saves only for a newer version)
    replay      what is missing is read and applied. A newer version claims the manifest of the snapshots and loads the
                state that was saved for it, through the title's migration
    first       the first tick is committed, its results are out; the manifest is claimed beside the ticks

Between workers of one version nothing is saved on the way: the new owner makes a snapshot soon after. What may go
wrong, and what follows:

| what | what follows |
|---|---|
| the new owner cannot follow, is full or stops | nothing was asked: the old one runs on |
| the old owner is busy, stalled, or does not answer | it runs on; where it had granted after all, see the next line |
| the answer is lost after the head changed hands | the new owner finds its own address in the head, and takes it |
| the new owner dies after the head changed hands | its shards are taken over like those of any worker that dies |
| two want the same shard | the first is granted, the second is refused |
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from overworld import telemetry, tracing
from overworld.errors import LinkError, OverworldError
from overworld.link import Link
from overworld.store.ports import NONCE_BYTES, Grant, Head
from overworld.wire.v1 import link_pb2
from overworld.worker import tasks
from overworld.worker.following import Followings
from overworld.worker.keeper import Keeper
from overworld.worker.peers import Peers
from overworld.worker.shelf import Shelf
from overworld.worker.yielding import Wish, Yielded
from overworld.world.contract import WorldContract

log = structlog.get_logger(__name__)

MOVED, REFUSED, FAILED = "moved", "refused", "failed"
LAG_TICKS_MAX = 1
LINK_WAIT_S, LINK_POLL_S = 2.0, 0.02
QUESTIONS_MAX = 1024
"""Questions of other workers that are worked on at once; more are refused."""


@dataclass(frozen=True)
class MigrationLimits:
    """Seconds. `move_s`: all of one migration. `yield_s`: for the old owner to come to the end of a tick; it may take
    `answer_s` in all.
    """

    move_s: float = 30.0
    yield_s: float = 1.0
    answer_s: float = 5.0
    moves_at_once_max: int = 4


@dataclass(frozen=True)
class Outcome:
    """What became of a migration. `result`: "moved", "refused" (nothing was touched), or "failed" (it is not known how
    far it went: the shard is run by its old owner, by the new one, or is taken over as if a worker had died). `reason`:
    for people. `pause_s`: how long the shard stood still, as far as both workers can tell.
    """

    result: str
    reason: str = ""
    pause_s: float = 0.0

    @property
    def moved(self) -> bool:
        """True where the shard is run by the worker that was named."""
        return self.result == MOVED


class Migrations:
    """All migrations that one worker asks for, or takes part in."""

    def __init__(
        self,
        address: str,
        keeper: Keeper,
        followings: Followings,
        shelf: Shelf,
        peers: Peers,
        limits: MigrationLimits,
        contract: WorldContract,
    ) -> None:
        self._address = address
        self._contract = contract
        self._keeper = keeper
        self._followings = followings
        self._shelf = shelf
        self._peers = peers
        self._limits = limits
        self._coming: set[int] = set()
        self._answering: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------ whoever asks

    async def migrate(self, shard: int, to_address: str) -> Outcome:
        """Move a shard from whichever worker owns it to the worker at `to_address` (host:port, as the directory has
        it). May be called on any worker of the world. Never raises for what may go wrong; bounded by
        `MigrationLimits.move_s`, and `answer_s` more where another worker is asked.
        """
        if to_address == self._address:
            return await self._bring(shard)

        def question(number: int) -> link_pb2.LinkMessage:
            return link_pb2.LinkMessage(move=link_pb2.MoveShard(number=number, shard=shard))

        try:
            answer = await self._peers.ask(to_address, question, self._limits.move_s + self._limits.answer_s)
        except LinkError as error:
            return Outcome(FAILED, str(error))
        return Outcome(answer.moved.result, answer.moved.reason, answer.moved.pause_us / 1e6)

    async def move_away(self, targets: Callable[[], list[str]], timeout_s: float) -> int:
        """Move every shard of this worker to others, fewest shards first, a few at once. Returns how many are left:
        those that nobody took, each asked for at most twice, or not within `timeout_s`.
        """
        left = sorted(self._keeper.hosts)
        given: dict[str, int] = {}
        gate = asyncio.Semaphore(self._limits.moves_at_once_max)

        async def one(shard: int) -> None:
            async with gate:
                for _ in range(2):
                    workers = targets()
                    if shard not in self._keeper.hosts or not workers:
                        return
                    counts = self._keeper.counts(workers)
                    to = min(workers, key=lambda w: (counts[w] + given.get(w, 0), w))
                    given[to] = given.get(to, 0) + 1
                    outcome = await self.migrate(shard, to)
                    if outcome.moved:
                        return
                    given[to] -= 1
                    log.warning("shard_not_moved", shard=shard, to=to, result=outcome.result, reason=outcome.reason)

        moving = [asyncio.create_task(one(shard)) for shard in left]
        try:
            if moving:
                await asyncio.wait(moving, timeout=timeout_s)
        finally:
            await tasks.end(moving)
        return len(self._keeper.hosts)

    # ------------------------------------------------------------ questions of other workers

    def on_question(self, link: Link, message: link_pb2.LinkMessage) -> None:
        """Another worker asks: it is answered over the same link. Never blocks."""
        if len(self._answering) >= QUESTIONS_MAX:
            log.warning("question_dropped", remote=link.remote, waiting=len(self._answering))
            return
        work: Coroutine[Any, Any, None]
        if message.WhichOneof("message") == "move":
            work = self._answer_move(link, message.move)
        else:
            work = self._answer_yield(link, getattr(message, "yield"))
        task = asyncio.create_task(work)
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def close(self) -> None:
        """Answer nobody any more."""
        await tasks.end(list(self._answering))

    async def _answer_move(self, link: Link, asked: link_pb2.MoveShard) -> None:
        outcome = await self._bring(asked.shard)
        ended = link_pb2.MoveEnded(
            number=asked.number,
            result=outcome.result,
            reason=outcome.reason[:500],
            pause_us=round(outcome.pause_s * 1e6),
        )
        link.send(link_pb2.LinkMessage(moved=ended))

    async def _answer_yield(self, link: Link, asked: link_pb2.YieldShard) -> None:
        host = self._keeper.hosts.get(asked.shard)
        answer: Yielded | str = "it is not here"
        same, newer = asked.contract == self._contract.fingerprint, asked.title_version > self._contract.title_version
        if len(asked.nonce) != NONCE_BYTES or not asked.address:
            answer = "the question names no owner"
        elif not (same or newer):
            answer = (
                f"{asked.address} runs version {asked.title_version} of the title, or has other settings of the world"
            )
        elif host is not None:
            wish = Wish(asked.address, asked.nonce, asked.min_epoch, asked.title_version, saved=not same)
            answer = await host.yield_to(wish, self._limits.yield_s)
        telemetry.yields_total.labels(REFUSED if isinstance(answer, str) else MOVED).inc()
        link.send(link_pb2.LinkMessage(yielded=_yielded(asked.number, answer)))

    # ------------------------------------------------------------ the new owner

    async def _bring(self, shard: int) -> Outcome:
        """Take a shard over from its owner, and say how that went."""
        began_s = time.monotonic()
        outcome = await self._try_bring(shard)
        took_s, error = time.monotonic() - began_s, "" if outcome.moved else outcome.result
        tracing.spans.tell("shard.migration", "", took_s, {"shard": shard, "result": outcome.result}, error=error)
        telemetry.migrations_total.labels(outcome.result).inc()
        say = log.info if outcome.moved else log.warning
        say(
            "migration_ended",
            shard=shard,
            result=outcome.result,
            reason=outcome.reason,
            pause_ms=round(outcome.pause_s * 1000, 1),
        )
        return outcome

    async def _try_bring(self, shard: int) -> Outcome:
        reason = "it is on its way here" if shard in self._coming else self._keeper.why_not(shard)
        if reason:
            return Outcome(REFUSED, reason)
        self._coming.add(shard)
        try:
            async with asyncio.timeout(self._limits.move_s):
                owner, min_epoch = await self._follow(shard)
                reason = self._keeper.why_not(shard)
                if reason:
                    return Outcome(REFUSED, reason)
                return await self._take(shard, owner, min_epoch)
        except TimeoutError:
            return Outcome(FAILED, f"not done in {self._limits.move_s:g} s")
        except _Refusal as refusal:
            return Outcome(REFUSED, str(refusal))
        except OverworldError as error:
            return Outcome(FAILED, str(error))
        finally:
            self._coming.discard(shard)
            self._followings.let_go(shard)

    async def _follow(self, shard: int) -> tuple[str, int]:
        """Follow it until next to nothing is missing; where an older version of the title runs it, its last state is
        all there is to go on from. Returns its owner's address, and the epoch to go past.
        """
        began_s = time.monotonic()
        min_epoch = await self._shelf.epoch(shard)
        head = self._keeper.head(shard)
        if head is None or head.version in (0, self._contract.title_version):
            following = self._followings.hold(shard)
            if not await following.caught_up(LAG_TICKS_MAX):
                raise _Refusal(f"it cannot be followed: {following.stopped or 'somebody else takes it'}")
            head = following.head
        elif head.version > self._contract.title_version:
            raise _Refusal(f"version {head.version} of the title runs it, this is {self._contract.title_version}")
        assert head is not None
        owner = head.address
        if owner in ("", self._address):
            raise _Refusal("nobody runs it")
        # A worker that has just started may not have links to all others yet.
        until_s = time.monotonic() + LINK_WAIT_S
        while owner not in self._peers.linked:
            if time.monotonic() > until_s:
                raise _Refusal(f"there is no link to its owner {owner}")
            await asyncio.sleep(LINK_POLL_S)
        telemetry.migration_seconds.labels("follow").observe(time.monotonic() - began_s)
        return owner, min_epoch

    async def _take(self, shard: int, owner: str, min_epoch: int) -> Outcome:
        steps = _Steps()
        host = await self._keeper.take(shard, lambda: self._ask(shard, owner, min_epoch, steps))
        if host is None:
            # Whether the head has changed hands nevertheless is seen by the next look.
            self._keeper.look_soon()
            return Outcome(FAILED if steps.unknown else REFUSED, steps.reason or "it was not yielded")
        await host.started.wait()
        if host.ended:
            return Outcome(FAILED, "it was yielded, but could not be run here")
        pause_s = steps.settled_s + steps.handed_s + time.monotonic() - steps.granted_s
        for step, seconds in {
            "settle": steps.settled_s,
            "hand": steps.handed_s,
            **host.took_s,
            "first": time.monotonic() - steps.granted_s,
            "pause": pause_s,
        }.items():
            telemetry.migration_seconds.labels(step).observe(seconds)
        about: dict[str, tracing.Value] = {"shard": shard, "epoch": host.epoch, "owner_before": owner}
        about |= {f"{name}_s": seconds for name, seconds in host.took_s.items()}
        tracing.spans.tell("shard.moved", tracing.of_shard(shard, host.epoch), pause_s, about)
        log.info(
            "shard_moved_here",
            shard=shard,
            owner_before=owner,
            epoch=host.epoch,
            settle_ms=round(steps.settled_s * 1000, 2),
            hand_ms=round(steps.handed_s * 1000, 2),
            **{f"{name}_ms": round(seconds * 1000, 2) for name, seconds in host.took_s.items()},
            pause_ms=round(pause_s * 1000, 2),
        )
        return Outcome(MOVED, "", pause_s)

    async def _ask(self, shard: int, owner: str, min_epoch: int, steps: _Steps) -> Grant | None:
        """Ask the owner to yield. None where it does not."""
        nonce = secrets.token_bytes(NONCE_BYTES)

        def question(number: int) -> link_pb2.LinkMessage:
            asked = link_pb2.YieldShard(
                number=number,
                shard=shard,
                address=self._address,
                nonce=nonce,
                min_epoch=min_epoch,
                title_version=self._contract.title_version,
                contract=self._contract.fingerprint,
            )
            return link_pb2.LinkMessage(**{"yield": asked})  # type: ignore[arg-type]

        try:
            answer = (await self._peers.ask(owner, question, self._limits.answer_s)).yielded
        except LinkError as error:
            steps.unknown, steps.reason = True, str(error)
            return None
        if answer.refusal:
            steps.reason = answer.refusal
            return None
        steps.granted_s = time.monotonic()
        steps.settled_s, steps.handed_s = answer.settled_us / 1e6, answer.handed_us / 1e6
        telemetry.takeovers_total.labels("migration").inc()
        head = Head(
            answer.epoch,
            nonce,
            self._address,
            answer.tick,
            answer.chain,
            answer.committed,
            answer.floor,
            answer.beat,
            self._contract.title_version,
        )
        return Grant(shard, answer.epoch, nonce, head, yielded=True)


class _Refusal(OverworldError):
    """A migration that was given up before anything was touched."""


@dataclass
class _Steps:
    """What is known of one migration, as it goes."""

    granted_s: float = 0.0
    settled_s: float = 0.0
    handed_s: float = 0.0
    unknown: bool = False
    reason: str = ""


def _yielded(number: int, answer: Yielded | str) -> link_pb2.ShardYielded:
    if isinstance(answer, str):
        return link_pb2.ShardYielded(number=number, refusal=answer[:500] or "no reason was given")
    head = answer.grant.head
    return link_pb2.ShardYielded(
        number=number,
        epoch=answer.grant.epoch,
        tick=head.tick,
        chain=head.chain,
        committed=head.committed,
        floor=head.floor,
        beat=head.beat,
        settled_us=round(answer.settled_s * 1e6),
        handed_us=round(answer.handed_s * 1e6),
    )
