"""Notices at once that another worker's process is gone, by a link to each that dies with it, and says again and again
that it answers while it does.

A lost link alone proves nothing (a network may do that); a port that then refuses does: the process is not there any
more. Taking over on a wrong suspicion is safe, it only costs the other worker its shards. A process that answers lives,
even where its shards stand still in Redis: in the middle of a failover the two may be looking at different servers.

Mail between shards goes over the same links, one way over each. Questions about moving a shard go that way too, and
their answers come back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from overworld.errors import LinkError
from overworld.link import Link, LinkCredentials, LinkLimits, connect
from overworld.wire.v1 import link_pb2
from overworld.worker import tasks

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT_S = 1.0
RETRY_S = 0.2
HURRY_S, HURRIED_TRIES_MAX = 0.01, 10
"""Right after a link is lost: a process that has just died may still accept and reset for a moment."""
REFUSALS_MIN = 2
"""Connections refused one after the other before a worker that was there counts as gone."""
PING_S = 0.25
MAIL_BUFFERED_BYTES_MAX = 4 << 20
"""Beyond it mail is not sent: a full link would be closed, and its worker be taken for dead."""
ANSWER_S = 3 * PING_S
"""A worker that nothing was heard of for longer does not answer."""
LIMITS = LinkLimits(ping_s=PING_S)


@dataclass(frozen=True)
class PeerEvents:
    """Whom to tell: each is called with the worker's address; `here` every `PING_S` while it answers."""

    gone: Callable[[str], None]
    here: Callable[[str], None]


class Peers:
    """Links to all other workers."""

    def __init__(self, credentials: LinkCredentials, events: PeerEvents) -> None:
        self._credentials = credentials
        self._events = events
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._links: dict[str, Link] = {}
        self._questions: dict[int, tuple[Link, asyncio.Future[link_pb2.LinkMessage]]] = {}
        self._asked = 0

    @property
    def linked(self) -> set[str]:
        """Workers that a link is open to: they answer, and serve the same contract."""
        return {address for address, link in self._links.items() if not link.closed}

    @property
    def fill(self) -> float:
        """How full the fullest link's buffer is, 0 to 1."""
        return max((link.fill for link in self._links.values()), default=0.0)

    def follow(self, addresses: set[str]) -> None:
        """Watch exactly these workers from now on."""
        for address in addresses - self._watches.keys():
            self._watches[address] = asyncio.get_running_loop().create_task(self._watch(address))
        for address in self._watches.keys() - addresses:
            self._watches.pop(address).cancel()

    def send(self, address: str, body: bytes) -> bool:
        """Send the bytes of a LinkMessage to a worker. False where there is no link to it, or too much waits on it."""
        link = self._links.get(address)
        if link is None or link.closed or link.buffered_bytes + len(body) > MAIL_BUFFERED_BYTES_MAX:
            return False
        link.send_serialized(body)
        return True

    async def ask(
        self, address: str, question: Callable[[int], link_pb2.LinkMessage], timeout_s: float
    ) -> link_pb2.LinkMessage:
        """Ask a worker something; `question` makes the message from its number. Raises LinkError where there is no
        link, or no answer in time: then what the other side did is unknown.
        """
        link = self._links.get(address)
        if link is None or link.closed:
            raise LinkError(f"there is no link to {address}")
        self._asked = number = self._asked % 0xFFFF_FFFF + 1
        answer: asyncio.Future[link_pb2.LinkMessage] = asyncio.get_running_loop().create_future()
        self._questions[number] = link, answer
        try:
            link.send(question(number))
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError as error:
            raise LinkError(f"{address} did not answer within {timeout_s:g} s") from error
        finally:
            del self._questions[number]

    def _answered(self, link: Link, message: link_pb2.LinkMessage) -> None:
        """An answer, or the end of the link it would have come over."""
        kind = message.WhichOneof("message")
        body = message.moved if kind == "moved" else message.yielded
        asked, answer = self._questions.get(body.number, (None, None))
        if asked is link and answer is not None and not answer.done():
            answer.set_result(message)

    def _lost(self, link: Link) -> None:
        for asked, answer in self._questions.values():
            if asked is link and not answer.done():
                answer.set_exception(LinkError(f"the link to {link.remote} was lost"))

    async def close(self) -> None:
        """Watch nobody."""
        watches = list(self._watches.values())
        self._watches.clear()
        await tasks.end(watches)

    async def _watch(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        known, refusals, tries = False, 0, HURRIED_TRIES_MAX
        while True:
            peer = _Peer(self._answered, self._lost)
            try:
                link = await connect(host, int(port), self._credentials, peer, CONNECT_TIMEOUT_S, LIMITS)
            except LinkError as error:
                refusals = refusals + 1 if isinstance(error.__cause__, ConnectionRefusedError) else 0
                if refusals == REFUSALS_MIN and known:
                    self._events.gone(address)
                # The sooner it is certain, the shorter the pause of those who play there.
                tries += 1
                pause_s = HURRY_S if tries <= HURRIED_TRIES_MAX else RETRY_S
                await asyncio.sleep(0 if 0 < refusals < REFUSALS_MIN else pause_s)
                continue
            known, refusals, tries = True, 0, 0
            self._links[address] = link
            try:
                await self._while_it_answers(address, link, peer)
            finally:
                del self._links[address]
                link.close("this side stops watching")

    async def _while_it_answers(self, address: str, link: Link, peer: _Peer) -> None:
        """Until the link is lost."""
        loop = asyncio.get_running_loop()
        while not peer.lost.is_set():
            if loop.time() - link.heard_s < ANSWER_S:
                self._events.here(address)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_S):
                    await peer.lost.wait()


class _Peer:
    """A link that is listened to for answers, and for its end."""

    def __init__(self, answered: Callable[[Link, link_pb2.LinkMessage], None], ended: Callable[[Link], None]) -> None:
        self._answered = answered
        self._ended = ended
        self.lost = asyncio.Event()

    def on_message(self, link: Link, message: link_pb2.LinkMessage) -> None:
        """The other worker answers a question, and says nothing else here."""
        if message.WhichOneof("message") in ("moved", "yielded"):
            self._answered(link, message)

    def on_lost(self, link: Link, reason: str) -> None:  # noqa: ARG002 - a LinkPeer is told
        """The other process is gone, or the network."""
        self.lost.set()
        self._ended(link)
