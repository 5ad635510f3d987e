"""The worker's end of links of gateways and other workers: routes each message to its shard's reception.

A message for a shard that is not here is answered with `ShardGone`, so that the gateway asks Redis who owns it: every
`Attach`, and the rest at most once in `GONE_PAUSE_S` for each link and shard. Mail for one is dropped and counted: its
sender's outbox has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from overworld import telemetry
from overworld.errors import LinkError
from overworld.link import Link
from overworld.shard.inputs import ShardMessage
from overworld.wire.v1 import link_pb2
from overworld.worker.reception import Outlet, Reception

log = structlog.get_logger(__name__)

GONE_PAUSE_S = 0.25
GONE_TOLD_MAX = 4096


class Links:
    """Every gateway link of one worker, and the receptions of the shards it runs. An `overworld.link.LinkPeer`."""

    def __init__(self, on_question: Callable[[Link, link_pb2.LinkMessage], None] | None = None) -> None:
        """`on_question`: gets what other workers ask about moving shards; None where that is not possible here."""
        self._on_question = on_question
        self._receptions: dict[int, Reception] = {}
        self._open: dict[Link, None] = {}
        self._told: dict[tuple[int, int], float] = {}
        self._loop = asyncio.get_running_loop()

    @property
    def fill(self) -> float:
        """How full the fullest link's buffer is, 0 to 1."""
        return max((link.fill for link in self._open), default=0.0)

    # ------------------------------------------------------------ shards

    def host(self, shard: int, reception: Reception) -> None:
        """Messages for this shard go to this reception from now on."""
        self._receptions[shard] = reception

    def tell(self, shard: int, epoch: int, address: str) -> None:
        """The shard has just become this worker's: tell every gateway. `address`: this worker's own."""
        here = link_pb2.ShardHere(shard=shard, epoch=epoch, address=address)
        body = link_pb2.LinkMessage(here=here).SerializeToString()
        for link in self._open:
            link.send_serialized(body)

    def unhost(self, shard: int, epoch: int, moved_to: str = "") -> None:
        """The shard is not here any more: tell everybody who used it. `moved_to`: the address of its new owner, where
        that is known; then `epoch` is the new owner's.
        """
        reception = self._receptions.pop(shard, None)
        for outlet in reception.links if reception else []:
            outlet.send_serialized(_gone(shard, epoch, moved_to))

    def hand_over(self, shard: int, messages: Sequence[ShardMessage]) -> bool:
        """Mail from a shard of this very process. False where this one is not run here."""
        reception = self._receptions.get(shard)
        if reception is None:
            return False
        reception.messages(messages, self._loop.time())
        return True

    def served(self) -> list[Link]:
        """Gateways that have players or watch cells here."""
        wanted = {id(link) for reception in self._receptions.values() for link in reception.links}
        return [link for link in self._open if id(link) in wanted]

    # ------------------------------------------------------------ a LinkPeer

    def on_link(self, link: Link) -> Links:
        """A gateway has proved that it belongs to the cluster."""
        self._open[link] = None
        return self

    def on_message(self, link: Link, message: link_pb2.LinkMessage) -> None:
        """One message of a gateway. A gateway that breaks the rules loses its link."""
        try:
            self._dispatch(link, message)
        except LinkError as error:
            telemetry.reception_refused_total.labels("broken_rule").inc()
            log.error("link_broke_a_rule", remote=link.remote, reason=str(error))
            link.close(str(error))

    def on_lost(self, link: Link, reason: str) -> None:
        """A gateway is gone, or only its stream: its sessions may come back."""
        self._open.pop(link, None)
        for key in [key for key in self._told if key[0] == id(link)]:
            del self._told[key]
        now_s = self._loop.time()
        lost = sum(reception.lost(link, now_s) for reception in self._receptions.values())
        if lost:
            log.info("sessions_without_gateway", remote=link.remote, sessions=lost, reason=reason)

    # ------------------------------------------------------------ messages

    def _dispatch(self, link: Link, message: link_pb2.LinkMessage) -> None:
        match message.WhichOneof("message"):
            case "attach":
                self._attach(link, message.attach)
            case "detach":
                if (reception := self._of(link, message.detach.shard)) is not None:
                    reception.detach(link, message.detach)
            case "inputs":
                if (reception := self._of(link, message.inputs.shard)) is not None:
                    reception.inputs(message.inputs)
            case "watch":
                if (reception := self._of(link, message.watch.shard)) is not None:
                    reception.watch(link, message.watch)
            case "mail":
                if (there := self._receptions.get(message.mail.to_shard)) is not None:
                    there.mail(message.mail, self._loop.time())
                else:
                    telemetry.mail_dropped_total.labels("not_here").inc(len(message.mail.bodies))
            case "move" | "yield" if self._on_question is not None:
                self._on_question(link, message)
            case other:
                raise LinkError(f"a gateway does not send {other}")

    def _attach(self, link: Link, attach: link_pb2.Attach) -> None:
        reception = self._receptions.get(attach.shard)
        if reception is None:
            link.send_serialized(_gone(attach.shard, 0))
            return
        code = reception.attach(link, attach, self._loop.time())
        if code:
            refused = link_pb2.AttachRefused(shard=attach.shard, session=attach.session, close_code=code)
            link.send(link_pb2.LinkMessage(refused=refused))

    def _of(self, link: Outlet, shard: int) -> Reception | None:
        reception = self._receptions.get(shard)
        if reception is None:
            now_s = self._loop.time()
            key = (id(link), shard)
            if now_s - self._told.get(key, -GONE_PAUSE_S) >= GONE_PAUSE_S:
                if len(self._told) >= GONE_TOLD_MAX:
                    self._told.clear()
                self._told[key] = now_s
                link.send_serialized(_gone(shard, 0))
        return reception


def _gone(shard: int, epoch: int, moved_to: str = "") -> bytes:
    gone = link_pb2.ShardGone(shard=shard, epoch=epoch, address=moved_to)
    return link_pb2.LinkMessage(gone=gone).SerializeToString()
