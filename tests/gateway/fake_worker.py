"""A worker that runs model shards over the real link: what gateways are tested against."""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from overworld.link import Link, LinkCredentials, LinkServer, listen
from overworld.store.memory import MemoryRedis
from overworld.store.ports import Grant
from overworld.wire.v1 import link_pb2
from overworld.wire.v1.link_pb2 import LinkMessage
from overworld.world.contract import WorldContract
from tests.gateway.model import ModelShard

TICK_S = 0.01


@dataclass
class Sitting:
    """One session as the worker has it."""

    link: Link
    shard: int
    player: int
    center: int


@dataclass
class SharedWorld:
    """What outlives a worker: sessions' inputs, as a journal would keep them, and where players live."""

    last_seq: dict[int, int] = field(default_factory=dict)
    applied: defaultdict[int, list[tuple[int, ...]]] = field(default_factory=lambda: defaultdict(list))
    centers: dict[int, int] = field(default_factory=dict)
    ticks: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    went: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    """By (shard, player) where it went from there: (shard, number of the message)."""
    sent: defaultdict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))
    """By (from, to) the number of the last message."""
    received: defaultdict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))
    delivering: bool = True
    """False keeps messages between shards on their way."""

    def carry(self, player: int, origin: int, to: int) -> int:
        """The player goes to live elsewhere. Returns the number of the message it travels in."""
        self.sent[origin, to] += 1
        self.went.pop((to, player), None)
        self.went[origin, player] = (to, self.sent[origin, to])
        return self.sent[origin, to]


class FakeWorker:
    """Owns shards, ticks them every TICK_S, acks inputs, and does as the test says. A LinkPeer."""

    def __init__(self, name: str, contract: WorldContract, key: bytes, redis: MemoryRedis, world: SharedWorld) -> None:
        self._contract = contract
        self._credentials = LinkCredentials(key, contract.play_fingerprint, name)
        self._redis = redis
        self._world = world
        self._server: LinkServer | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._shards: dict[int, dict[Link, ModelShard]] = {}
        self._epochs: dict[int, int] = {}
        self._ticks: dict[int, int] = {}
        self._waiting: defaultdict[int, list[tuple[int, ...]]] = defaultdict(list)
        self._acked: dict[int, int] = {}
        self._held: list[tuple[Link, link_pb2.Attach]] = []
        self.paused = False
        """True stops its ticks."""
        self.acking = True
        """False keeps inputs waiting."""
        self.sessions: dict[int, Sitting] = {}
        self.attaches: list[link_pb2.Attach] = []
        self.detaches: list[link_pb2.Detach] = []
        self.inputs: list[tuple[int, ...]] = []
        """(session, seq, kind, seen tick, values...) as they came."""
        self.refuse_with = 0
        self.interval_us = 0
        """What its ticks say of their length; 0: as usual."""
        self.links: list[Link] = []

    # ------------------------------------------------------------ for tests

    async def start(self) -> None:
        self._server = await listen("127.0.0.1", 0, self._credentials, self._on_link)
        self._ticking = asyncio.get_running_loop().create_task(self._tick_on())

    @property
    def address(self) -> str:
        assert self._server is not None
        return f"127.0.0.1:{self._server.port}"

    def own(self, *shards: int) -> None:
        """Take shards over, as the directory will tell."""
        for shard in shards:
            node, key = self._redis.primary, (self._contract.world, shard)
            grant = node.acquire(key, node.head(key), self.address, 0, secrets.token_bytes(16))
            assert isinstance(grant, Grant)
            self._epochs[shard] = grant.epoch
            self._shards[shard] = {}
            self._ticks[shard] = self._world.ticks[shard]

    def disown(self, shard: int, moved_to: str = "", epoch: int = 0) -> None:
        """Stop running a shard, and say so. `moved_to`, `epoch`: its new owner's."""
        del self._shards[shard]
        gone = link_pb2.ShardGone(shard=shard, epoch=epoch or self._epochs[shard], address=moved_to)
        for link in self.links:
            link.send(LinkMessage(gone=gone))

    def tell_here(self, shard: int, epoch: int) -> None:
        """Say that a shard has become this worker's."""
        here = link_pb2.ShardHere(shard=shard, epoch=epoch, address=self.address)
        for link in self.links:
            link.send(LinkMessage(here=here))

    def model(self, session: int) -> ModelShard:
        """What the session's gateway will be told of its shard at the next tick."""
        sitting = self.sessions[session]
        return self._model(sitting.link, sitting.shard)

    def move(self, session: int, center: int) -> None:
        """The session looks from another cell of its shard."""
        self._world.centers[session] = center
        self.model(session).views.append((session, center))

    def cross(self, session: int, shard: int) -> int:
        """The session's player goes to live in another shard; its gateway is told at the next tick. Returns the number
        of the message it travels in.
        """
        sitting = self.sessions.pop(session)
        number = self._world.carry(sitting.player, sitting.shard, shard)
        self._world.centers[session] = self._default_center(shard)
        self._model(sitting.link, sitting.shard).moved.append((session, shard, number))
        return number

    def tick(self) -> None:
        """One tick of every shard."""
        if self._world.delivering:
            self._world.received.update(self._world.sent)
        held, self._held = self._held, []
        for link, attach in held:
            self._attach(link, attach)
        for shard, models in self._shards.items():
            self._ticks[shard] += 1
            self._world.ticks[shard] = max(self._world.ticks[shard], self._ticks[shard])
            if self.acking:
                self._apply(shard)
            for link, model in models.items():
                model.tick = self._ticks[shard] - 1
                output = model.run()
                output.tick_interval_us = self.interval_us
                if not link.closed:
                    link.send(LinkMessage(output=output))

    def tell(self, message: LinkMessage) -> None:
        """Send something to every gateway."""
        for link in self.links:
            link.send(message)

    async def kill(self) -> None:
        """Gone without a word."""
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
            self._ticking = None
        if self._server is not None:
            await self._server.close()
            self._server = None

    # ------------------------------------------------------------ LinkPeer

    def _on_link(self, link: Link) -> FakeWorker:
        self.links.append(link)
        return self

    def on_lost(self, link: Link, reason: str) -> None:
        self.links.remove(link)
        for models in self._shards.values():
            models.pop(link, None)

    def on_message(self, link: Link, message: LinkMessage) -> None:
        match message.WhichOneof("message"):
            case "attach":
                self.attaches.append(message.attach)
                self._attach(link, message.attach)
            case "detach":
                self.detaches.append(message.detach)
                sitting = self.sessions.get(message.detach.session)
                if sitting is not None and sitting.link is link:
                    del self.sessions[message.detach.session]
            case "watch":
                if message.watch.shard in self._shards:
                    self._model(link, message.watch.shard).watch(message.watch)
            case "inputs":
                self._inputs(message.inputs)
            case other:
                raise AssertionError(f"a gateway does not send {other}")

    def _attach(self, link: Link, attach: link_pb2.Attach) -> None:
        if link.closed:
            return
        if attach.shard not in self._shards:
            link.send(LinkMessage(gone=link_pb2.ShardGone(shard=attach.shard)))
            return
        if self.refuse_with:
            refused = link_pb2.AttachRefused(shard=attach.shard, session=attach.session, close_code=self.refuse_with)
            link.send(LinkMessage(refused=refused))
            return
        world, session = self._world, attach.session
        if world.received[attach.after_shard, attach.shard] < attach.after_number:
            self._held.append((link, attach))
            return
        if (attach.shard, attach.player) in world.went:
            shard, number = world.went[attach.shard, attach.player]
            self._model(link, attach.shard).moved.append((session, shard, number))
            return
        center = world.centers.setdefault(session, self._default_center(attach.shard))
        applied = world.last_seq.get(session, 0)
        self.sessions[session] = Sitting(link, attach.shard, attach.player, center)
        model = self._model(link, attach.shard)
        model.joins.append((session, applied))
        model.views.append((session, center))
        model.owns.append((session, attach.player % 1000 + 1))

    def _inputs(self, batch: link_pb2.InputBatch) -> None:
        sessions = np.frombuffer(batch.sessions_i64, "<i8").tolist()
        columns = [
            np.frombuffer(column, "<u4").tolist()
            for column in (batch.seqs_u32, batch.kinds_u32, batch.seen_ticks_u32, batch.counts_u32)
        ]
        values = np.frombuffer(batch.values_i32, "<i4").tolist()
        for session, seq, kind, seen_tick, count in zip(sessions, *columns, strict=True):
            row = (session, seq, kind, seen_tick, *values[:count])
            del values[:count]
            self.inputs.append(row)
            self._waiting[batch.shard].append(row)
        assert not values

    def _apply(self, shard: int) -> None:
        """Inputs take effect, each once and in order, and are journaled."""
        for row in self._waiting.pop(shard, []):
            session, seq = row[:2]
            if session not in self.sessions or self.sessions[session].shard != shard:
                continue  # It lives elsewhere, or its socket is gone: not acked, so it comes again.
            last_seq = self._world.last_seq.get(session, 0)
            assert seq <= last_seq + 1, f"input {seq} after {last_seq}"
            if seq == last_seq + 1:
                self._world.last_seq[session] = seq
                self._world.applied[session].append(row)
        for session, sitting in self.sessions.items():
            last_seq = self._world.last_seq.get(session, 0)
            if sitting.shard == shard and last_seq > self._acked.get(session, 0):
                self._acked[session] = last_seq
                self.model(session).acks.append((session, last_seq))

    # ------------------------------------------------------------ inside

    def _model(self, link: Link, shard: int) -> ModelShard:
        models = self._shards[shard]
        if link not in models:
            models[link] = ModelShard(self._contract.grid, shard, self._epochs[shard], self._ticks[shard])
        return models[link]

    def _default_center(self, shard: int) -> int:
        grid = self._contract.grid
        x0, y0, _, _ = grid.bounds(shard)
        return (y0 // grid.cell_size + 1) * grid.cells_x + x0 // grid.cell_size + 1

    async def _tick_on(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            if not self.paused:
                self.tick()
