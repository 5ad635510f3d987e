"""Workers on in-memory stores, and a gateway that is only a link: what the worker's tests play with."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from overworld.errors import Fenced, StoreUnavailable
from overworld.game import Title, contract_of
from overworld.link import Link, LinkCredentials, connect
from overworld.settings import WorkerSettings
from overworld.store.archive import Archive
from overworld.store.memory import MemoryDirectory, MemoryOwnership, MemoryRedis
from overworld.store.ports import CommitPolicy, Directory, Grant, Ownership
from overworld.wire.v1 import link_pb2
from overworld.worker.service import Worker
from overworld.worker.shelf import Shelf, SnapshotBytes, Start
from overworld.worker.takeover import Stores
from overworld.world.contract import WorldContract
from tests.shard.meadow import Meadow

KEY = b"k" * 32
WAIT_S = 20.0


class MemoryShelf:
    """Snapshots of a world in memory. `down` makes every call fail; `torn` names snapshots that cannot be read; a save
    takes `save_s` seconds; `looks` counts looks at manifests.
    """

    def __init__(self) -> None:
        self.kept: dict[int, list[Start]] = defaultdict(list)
        self.claims: dict[int, tuple[int, bytes]] = {}
        self.evidence: dict[str, bytes] = {}
        self.torn: set[str] = set()
        self.down = False
        self.save_s = 0.0
        self.looks = 0

    def _call(self) -> None:
        if self.down:
            raise StoreUnavailable("blob storage is down")

    async def epoch(self, shard: int) -> int:
        self._call()
        self.looks += 1
        return self.claims.get(shard, (0, b""))[0]

    async def claim(self, grant: Grant) -> None:
        self._call()
        epoch, nonce = self.claims.get(grant.shard, (0, grant.nonce))
        if epoch > grant.epoch or (epoch == grant.epoch and nonce != grant.nonce):
            raise Fenced("the manifest has another owner")
        self.claims[grant.shard] = (grant.epoch, grant.nonce)

    async def newest_first(self, shard: int) -> list[Start]:
        self._call()
        return [start for start in reversed(self.kept[shard]) if start.name not in self.torn]

    async def save(self, grant: Grant, snapshot: SnapshotBytes) -> int:
        self._call()
        await asyncio.sleep(self.save_s)
        await self.claim(grant)
        name = f"{snapshot.tick}-{grant.epoch}"
        self.kept[grant.shard].append(Start(name, snapshot.tick, grant.epoch, snapshot.chain, snapshot.data))
        del self.kept[grant.shard][:-3]
        return self.kept[grant.shard][-2].tick if len(self.kept[grant.shard]) > 1 else 0

    async def keep_evidence(self, name: str, data: bytes) -> None:
        self._call()
        self.evidence[name] = data


@dataclass
class Output:
    """One TickOutput as it came."""

    shard: int
    epoch: int
    tick: int
    message: link_pb2.TickOutput

    def sessions(self, what: str, value: str = "") -> dict[int, int]:
        """Pairs of one of its session columns: acks, views, joined, closed."""
        sessions = np.frombuffer(getattr(self.message, f"{what}_sessions_i64"), "<i8").tolist()
        values = np.frombuffer(getattr(self.message, f"{what}_{value}_u32"), "<u4").tolist()
        return dict(zip(sessions, values, strict=True))


@dataclass
class Gateway:
    """A gateway without players' sockets: what it says and what it hears."""

    contract: WorldContract
    name: str = "gateway"
    outputs: list[Output] = field(default_factory=list)
    gone: list[tuple[int, int]] = field(default_factory=list)
    moved: dict[int, str] = field(default_factory=dict)
    here: list[tuple[int, int]] = field(default_factory=list)
    refused: list[tuple[int, int]] = field(default_factory=list)
    notices: list[tuple[int, int]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    links: dict[str, Link] = field(default_factory=dict)

    async def dial(self, address: str) -> Link:
        host, _, port = address.rpartition(":")
        credentials = LinkCredentials(KEY, self.contract.play_fingerprint, self.name)
        self.links[address] = await connect(host, int(port), credentials, self, 5.0)
        return self.links[address]

    def close(self) -> None:
        for link in self.links.values():
            link.close("test over")

    # ------------------------------------------------------------ a LinkPeer

    def on_message(self, link: Link, message: link_pb2.LinkMessage) -> None:
        match message.WhichOneof("message"):
            case "output":
                out = message.output
                self.outputs.append(Output(out.shard, out.epoch, out.tick, out))
            case "gone":
                self.gone.append((message.gone.shard, message.gone.epoch))
                if message.gone.address:
                    self.moved[message.gone.shard] = message.gone.address
            case "here":
                self.here.append((message.here.shard, message.here.epoch))
            case "refused":
                self.refused.append((message.refused.session, message.refused.close_code))
            case "notice":
                self.notices.append((message.notice.shard, message.notice.code))
            case other:
                raise AssertionError(f"a worker does not send {other}")

    def on_lost(self, link: Link, reason: str) -> None:
        self.lost.append(reason)

    # ------------------------------------------------------------ what it says

    @staticmethod
    def attach(link: Link, shard: int, session: int, player: int, *, resume: bool = False) -> None:
        attach = link_pb2.Attach(shard=shard, session=session, player=player, resume=resume)
        link.send(link_pb2.LinkMessage(attach=attach))

    @staticmethod
    def detach(link: Link, shard: int, session: int, *, leaving: bool) -> None:
        link.send(link_pb2.LinkMessage(detach=link_pb2.Detach(shard=shard, session=session, leaving=leaving)))

    @staticmethod
    def watch(link: Link, shard: int, begin: list[int], end: list[int] | None = None) -> None:
        watch = link_pb2.Watch(
            shard=shard,
            begin_u32=np.array(begin, "<u4").tobytes(),
            end_u32=np.array(end or [], "<u4").tobytes(),
        )
        link.send(link_pb2.LinkMessage(watch=watch))

    @staticmethod
    def walk(link: Link, shard: int, session: int, seq: int, turn: int = 1) -> None:
        """One `Walk` input of the meadow."""
        batch = link_pb2.InputBatch(
            shard=shard,
            sessions_i64=np.array([session], "<i8").tobytes(),
            seqs_u32=np.array([seq], "<u4").tobytes(),
            kinds_u32=np.array([0], "<u4").tobytes(),
            seen_ticks_u32=np.array([0], "<u4").tobytes(),
            counts_u32=np.array([2], "<u4").tobytes(),
            values_i32=np.array([turn, 0], "<i4").tobytes(),
        )
        link.send(link_pb2.LinkMessage(inputs=batch))

    # ------------------------------------------------------------ what it heard

    def of(self, shard: int) -> list[Output]:
        return [output for output in self.outputs if output.shard == shard]

    def acked(self, shard: int, session: int) -> int:
        acks = [o.sessions("ack", "seqs").get(session, 0) for o in self.of(shard)]
        return max(acks, default=0)

    def joined(self, shard: int, session: int) -> bool:
        return any(session in o.sessions("joined", "seqs") for o in self.of(shard))


class Cluster:
    """One world on in-memory stores, and the workers started in it."""

    def __init__(self, title: Title | None = None, **settings: Any) -> None:
        self.title = title or Meadow()
        self.contract = contract_of(self.title, "test", seed=7)
        self.redis = MemoryRedis()
        self.shelf = MemoryShelf()
        self.workers: list[Worker] = []
        self.gateways: list[Gateway] = []
        self.given = {
            "http_port": 0,
            "port": 0,
            "lease_ttl_s": 0.4,
            "start_wait_s": 0.1,
            "snapshot_interval_s": 0.5,
            "attach_wait_s": 0.5,
            # Tests say themselves where shards are to be.
            "balance": False,
            **settings,
        }

    async def worker(
        self,
        name: str,
        *,
        ownership: Ownership | None = None,
        shelf: Shelf | None = None,
        directory: Directory | None = None,
        archive: Archive | None = None,
        **more: Any,
    ) -> Worker:
        settings = WorkerSettings(name=name, **{**self.given, **more})
        ownership = ownership or MemoryOwnership(self.redis, "test", CommitPolicy())
        stores = Stores(ownership, shelf or self.shelf, archive)
        worker = Worker(settings, self.contract, self.title, stores, directory or MemoryDirectory(self.redis), KEY)
        self.workers.append(worker)
        await worker.start()
        return worker

    async def gateway(self, name: str = "gateway") -> Gateway:
        self.gateways.append(Gateway(self.contract, name))
        return self.gateways[-1]

    async def close(self) -> None:
        for gateway in self.gateways:
            gateway.close()
        for worker in self.workers:
            await worker.kill()

    def head_tick(self, shard: int) -> int:
        head = self.redis.primary.head(("test", shard))
        return head.tick if head else 0


async def until(condition: Callable[[], Any], what: str, seconds_max: float = WAIT_S) -> None:
    """Wait until something holds."""
    deadline_s = asyncio.get_running_loop().time() + seconds_max
    while not condition():
        assert asyncio.get_running_loop().time() < deadline_s, f"waited {seconds_max:g} s in vain: {what}"
        await asyncio.sleep(0.005)


def running(worker: Worker) -> list[int]:
    """Shards that a worker ticks."""
    return [s["shard"] for s in worker.status()["shards"] if s["phase"] == "running" and s["tick"] > 0]
