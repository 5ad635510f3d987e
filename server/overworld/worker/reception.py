"""What gateways and other shards bring to one shard, and whom its results go to: inbox, mailbox, routes of sessions,
watches of cells.

It takes from the moment the shard is being taken over, so that players who come back first need not ask twice; what
arrives waits for the first tick. Bounds and what happens beyond them, each counted in
`telemetry.reception_refused_total`:

| bound | beyond it |
|---|---|
| sessions of the shard | a new session is refused with 1013 |
| a shard that stands still | a new session is refused with 1013; one that resumes may come |
| inputs in one tick's record | they wait for the next tick |
| inputs waiting: what all sessions may have | dropped, not acked; their clients send them again after a resume |
| cells of another shard | ignored |
| mail of one sender | what comes last is dropped (`shard.mailbox`); its outbox still has it |
| sessions that wait for their player's message (`held`) | refused with 1013, as when they wait too long |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from overworld import telemetry, tracing
from overworld.errors import LinkError
from overworld.shard.core import ShardCore
from overworld.shard.inbox import Inbox, InboxCounters, InputColumnsIn
from overworld.shard.inputs import SessionEvent, ShardMessage, TickInputs, TickOutcome
from overworld.shard.mailbox import Mailbox, MailboxCounters
from overworld.store.ports import PAYLOAD_BYTES_MAX
from overworld.wire.v1 import link_pb2
from overworld.worker.held import HeldAttaches
from overworld.worker.post import opened
from overworld.worker.publisher import Watches
from overworld.worker.routes import Routes
from overworld.world.contract import WorldContract

Ints = npt.NDArray[np.int64]

TRY_LATER = 1013
EVENTS_WAITING_MAX = 65_536
MAIL_BYTES_MAX = PAYLOAD_BYTES_MAX // 4
"""Mail in a tick's record; inputs have half of it."""
MAIL_MESSAGES_MAX = 1024
MAIL_TIMED_MAX = 65_536
"""Messages waiting whose arrival is remembered, for the metric alone."""


class Outlet(Protocol):
    """What a shard needs of a link; `overworld.link.Link` is one. Compared by identity."""

    def send_serialized(self, body: bytes) -> None:
        """Send the bytes of a LinkMessage. Never blocks."""


@dataclass(frozen=True)
class ReceptionLimits:
    """`attach_wait_s`: how long a session may be without a gateway before its socket counts as lost."""

    sessions_max: int = 20_000
    attach_wait_s: float = 5.0


class Reception:
    """The gateways' side of one shard. Time is an argument, in seconds, monotonic."""

    def __init__(self, contract: WorldContract, shard: int, limits: ReceptionLimits) -> None:
        self._limits = limits
        self._shard = shard
        self._shard_count = contract.grid.shard_count
        fit = _inputs_that_fit_a_record(contract)
        self._inbox = Inbox(contract, waiting_max=fit, tick_max=fit)
        self._counted = InboxCounters()
        self._events_waiting = 0
        self._held: HeldAttaches[Outlet] = HeldAttaches(limits.sessions_max, limits.attach_wait_s)
        self._arrived_s: dict[tuple[int, int], float] = {}
        self._mail_counted = MailboxCounters()
        self.mailbox = Mailbox()
        self.routes: Routes[Outlet] = Routes()
        self.watches: Watches[Outlet] = Watches(contract.grid, shard)
        self.stalled = False
        """While true, new sessions are refused."""
        self.on_call: Callable[[], None] = _nobody_sleeps
        """Called whenever somebody comes: a shard that sleeps wakes up."""

    @property
    def idle(self) -> bool:
        """True where nobody is attached, watches or is on the way."""
        return not (
            len(self.routes) or self._events_waiting or len(self._held) or len(self.mailbox) or self.watches.links
        )

    @property
    def links(self) -> list[Outlet]:
        """Links with a session or a watched cell here."""
        return list({id(link): link for link in [*self.routes.links, *self.watches.links]}.values())

    @property
    def fill(self) -> dict[str, float]:
        """How full its queues are, each as a part of its bound."""
        return {
            "inbox_inputs": self._inbox.fill,
            "inbox_events": self._events_waiting / EVENTS_WAITING_MAX,
            "mailbox": self.mailbox.fill,
        }

    # ------------------------------------------------------------ from gateways

    def attach(self, link: Outlet, attach: link_pb2.Attach, now_s: float = 0.0) -> int:
        """A session wants in. Returns 0, or the close code it is refused with. One whose player is still on his way
        waits for him.
        """
        self.on_call()
        if attach.after_number:
            # What has been applied is for the next tick to see.
            if self._held.add(link, attach, now_s):
                return 0
            telemetry.reception_refused_total.labels("session").inc()
            return TRY_LATER
        known = attach.session in self.routes
        full = not known and len(self.routes) >= self._limits.sessions_max
        if full or self._events_waiting >= EVENTS_WAITING_MAX or (self.stalled and not attach.resume):
            telemetry.reception_refused_total.labels("session").inc()
            return TRY_LATER
        event = SessionEvent.RESUME if attach.resume else SessionEvent.JOIN
        self._enter(attach, link, event)
        return 0

    def detach(self, link: Outlet, detach: link_pb2.Detach) -> None:
        """A session's socket is gone. Void where the session has come back through another link."""
        event = SessionEvent.BYE if detach.leaving else SessionEvent.LOST
        if self._held.detach(detach.session, link, event):
            return
        player = self.routes.detach(detach.session, link)
        if player is not None:
            self._event(event, detach.session, player)

    def inputs(self, batch: link_pb2.InputBatch) -> None:
        """Inputs of many sessions. Raises LinkError for columns that do not fit together."""
        try:
            columns = InputColumnsIn(
                sessions=_column(batch.sessions_i64, "<i8"),
                seqs=_column(batch.seqs_u32, "<u4"),
                kinds=_column(batch.kinds_u32, "<u4"),
                seen_ticks=_column(batch.seen_ticks_u32, "<u4"),
                counts=_column(batch.counts_u32, "<u4"),
                values=_column(batch.values_i32, "<i4"),
                due_ticks=_column(batch.due_ticks_u32, "<u4"),
            )
        except ValueError as error:
            raise LinkError(f"inputs: {error}") from error
        self._inbox.inputs(columns, len(self.routes))

    def watch(self, link: Outlet, watch: link_pb2.Watch) -> None:
        """Cells that a gateway begins or ends to look at. Raises LinkError for bytes that are no columns."""
        try:
            begin, end = _column(watch.begin_u32, "<u4"), _column(watch.end_u32, "<u4")
            split, unsplit = _column(watch.split_u32, "<u4"), _column(watch.unsplit_u32, "<u4")
        except ValueError as error:
            raise LinkError(f"watch: {error}") from error
        foreign = self.watches.change(link, begin, end)
        if len(split) or len(unsplit) or watch.focus:
            foreign += self.watches.crowd(link, split, unsplit, watch.focus)
        self.on_call()
        if foreign:
            telemetry.reception_refused_total.labels("foreign_cell").inc(foreign)

    def lost(self, link: Outlet, now_s: float) -> int:
        """A link is gone. Its sessions may come back within the wait. Returns how many there are."""
        self.watches.drop(link)
        self._held.lose_link(link)
        return self.routes.lose_link(link, now_s + self._limits.attach_wait_s)

    # ------------------------------------------------------------ from other shards

    def mail(self, mail: link_pb2.ShardMail, now_s: float) -> None:
        """Messages of another shard, from another worker. Raises LinkError where they are not what they say."""
        self.messages(opened(mail, self._shard_count), now_s)

    def messages(self, messages: Iterable[ShardMessage], now_s: float) -> int:
        """Messages of other shards. Returns how many of them are news and were kept."""
        kept = 0
        for message in messages:
            if self.mailbox.arrive(message):
                kept += 1
                if len(self._arrived_s) < MAIL_TIMED_MAX:
                    self._arrived_s[message.from_shard, message.number] = now_s
        if kept:
            self.on_call()
        return kept

    # ------------------------------------------------------------ for the tick

    def recovered(self, core: ShardCore, now_s: float) -> None:
        """A state was taken over: its players' gateways have the wait to attach them."""
        players = core.shard.players
        online = np.flatnonzero(players.online > 0)
        pairs = zip(players.session[online].tolist(), players.ids[online].tolist(), strict=True)
        self.routes.adopt(pairs, now_s + self._limits.attach_wait_s)

    def take(self, core: ShardCore, now_s: float) -> tuple[TickInputs, Ints]:
        """The next tick's inputs, and int64[2, n] sessions whose sockets must close, with the codes."""
        messages = self.mailbox.take(core.received, MAIL_BYTES_MAX, MAIL_MESSAGES_MAX)
        self._admit(core, messages, now_s)
        for session, player in self.routes.expired(now_s):
            telemetry.sessions_unattached_total.inc()
            self._event(SessionEvent.LOST, session, player)
        self._events_waiting = 0
        inputs, refused = self._inbox.take(core.shard, core.sessions)
        for session in refused[0].tolist():
            # Its socket closes, and the gateway's word of that will find no route any more.
            on_link = self.routes.player_of(session)
            if on_link is not None:
                self._event(SessionEvent.LOST, session, on_link)
        self._count()
        if messages:
            self._count_mail(messages, now_s)
            inputs = replace(inputs, messages=messages)
        return inputs, refused

    def arrived(self, outcome: TickOutcome, now_s: float) -> None:
        """A tick ran: players that came with it have the wait for their gateways to attach them."""
        sessions, players = outcome.arrived
        if len(sessions):
            pairs = zip(sessions.tolist(), players.tolist(), strict=True)
            self.routes.adopt(pairs, now_s + self._limits.attach_wait_s)

    def _admit(self, core: ShardCore, messages: tuple[ShardMessage, ...], now_s: float) -> None:
        """Let sessions in whose player is here by now, or comes with this very tick."""
        if not len(self._held):
            return
        coming = {message.from_shard: message.number for message in messages}
        ready, late = self._held.due(lambda shard: coming.get(shard) or core.received(shard), now_s)
        for held in ready:
            telemetry.attaches_waiting_total.labels("left" if held.left else "attached").inc()
            if held.left is not None:
                self._event(held.left, held.attach.session, held.attach.player)
                continue
            event = SessionEvent.RESUME if held.attach.resume else SessionEvent.JOIN
            self._enter(held.attach, held.link, event)
        for held in late:
            telemetry.attaches_waiting_total.labels("late").inc()
            refused = link_pb2.AttachRefused(shard=self._shard, session=held.attach.session, close_code=TRY_LATER)
            held.link.send_serialized(link_pb2.LinkMessage(refused=refused).SerializeToString())

    def _enter(self, attach: link_pb2.Attach, link: Outlet, event: SessionEvent) -> None:
        self.routes.attach(attach.session, attach.player, link)
        self._event(event, attach.session, attach.player)
        of = tracing.of_session(attach.session)
        about = {"session": attach.session, "shard": self._shard, "resume": attach.resume}
        tracing.spans.tell("session.attach", of, 0.0, about)

    def _event(self, event: SessionEvent, session: int, player: int) -> None:
        self._events_waiting += 1
        self._inbox.event(event, session, player)

    def _count_mail(self, messages: tuple[ShardMessage, ...], now_s: float) -> None:
        telemetry.mail_received_total.inc(len(messages))
        for message in messages:
            arrived_s = self._arrived_s.pop((message.from_shard, message.number), now_s)
            telemetry.mail_seconds.observe(now_s - arrived_s)
        if not len(self.mailbox):
            # What the state had already, or had no room, is never taken.
            self._arrived_s.clear()

    def _count(self) -> None:
        """Move what the inbox counted since the last tick into the metrics."""
        now, before = self._inbox.counters, self._counted
        for name in ("unknown_session", "duplicate", "bad_input", "gap", "overflow"):
            grown = getattr(now, name) - getattr(before, name)
            if grown:
                telemetry.inputs_refused_total.labels(name).inc(grown)
                setattr(before, name, getattr(now, name))
        if now.late > before.late:
            telemetry.inputs_late_total.inc(now.late - before.late)
            before.late = now.late
        mail, counted = self.mailbox.counters, self._mail_counted
        if mail == counted:
            return
        telemetry.mail_duplicate_total.inc(mail.duplicate - counted.duplicate)
        telemetry.mail_dropped_total.labels("mailbox_full").inc(mail.overflow - counted.overflow)
        self._mail_counted = replace(mail)


def _nobody_sleeps() -> None:
    pass


def _column(data: bytes, dtype: str) -> Ints:
    return np.frombuffer(data, dtype).astype(np.int64)


def _inputs_that_fit_a_record(contract: WorldContract) -> int:
    """How many inputs a tick's record can hold, with half of it left for everything else."""
    fields = max((len(kind.fields) for kind in contract.inputs), default=0)
    return PAYLOAD_BYTES_MAX // 2 // (24 + 4 * fields)
