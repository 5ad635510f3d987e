"""A recorded run: a cluster, crowds of bots on all its gateways, observers of audit and journal; then the check.

    async with Trial(folder, Shape(), bots=200) as trial:
        await trial.play(30)
        trial.cluster.workers[0].process.kill()
        await trial.play(30)
        await trial.leave()
        await trial.finish()
    findings = trial.findings()

The check is the same for every run: what any bot saw at any tick equals the workers' own word where that was sampled,
and equals the replay of the surviving journal at every single tick; acknowledged inputs were applied exactly once.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import Self

import psutil

from loadtest import history
from loadtest.audit import AuditCollector
from loadtest.census import account
from loadtest.cluster import Cluster, Shape
from loadtest.compare import compare, endings, traffic
from loadtest.crowd import Crowd, Order, split
from loadtest.findings import Findings
from loadtest.inputs import audit_inputs
from loadtest.journal import JournalCollector, Lineage, Replayed, applied_inputs, replay
from loadtest.metrics import Metrics
from loadtest.takeovers import Loss, Pauses, pauses, residents
from loadtest.worlds import world_of
from overworld.game import Title
from overworld.world.contract import WorldContract

JOIN_S = 120.0
CROWD = 200
"""Bots of one process."""
SETTLE_S = 1.0
STEPS = ("tick", "tick_late", "journal_append", "release")
"""What is told of the workers' own measures."""
SHARES = (0.5, 0.99)


class Trial:
    """See the module. `say` gets a line now and then."""

    def __init__(
        self,
        folder: Path,
        shape: Shape,
        bots: int,
        *,
        crowds: int = 0,
        brain: str = "auto",
        light: bool = False,
        cluster: Cluster | None = None,
        say: Callable[[str], object],
    ) -> None:
        """`crowds`: processes of bots; 0: as many as they need. `light`: bots keep no picture themselves (their
        histories have all of it). `cluster`: one of another kind than `Cluster` itself; it has the same folder and
        shape.
        """
        self.folder = folder
        self.shape = shape
        self.bots = bots
        self.cluster = cluster or Cluster(folder, shape)
        self.contract, self.title = world_of(shape)
        self.say = say
        self.crowds: list[Crowd] = []
        self.cpu_s: dict[str, float] = {}
        """CPU seconds of each process at the end of the last `play`."""
        self.workers = Metrics({})
        """Of all workers that lived then, together."""
        self.load = 0.0
        """The machine's load average then: above its cores, times are other people's too."""
        self._parts = split(bots, crowds or math.ceil(bots / CROWD))
        self._brain, self._light = brain, light
        self.later: dict[str, tuple[WorldContract, Title]] = {}
        """Versions of the title that took over meanwhile."""
        self.replays: dict[int, Replayed] = {}
        """Every shard's journal, replayed, after `findings`."""
        self._audit = AuditCollector([], self.contract)
        self._journal = JournalCollector(self.cluster.redis_url, shape.world, self.contract.grid.shard_count)

    # ------------------------------------------------------------ the run

    async def __aenter__(self) -> Self:
        self.say(
            f"starting {self.shape.workers} workers, {self.shape.gateways} gateways, Redis, {self.shape.blob} blobs"
        )
        await self.cluster.__aenter__()
        try:
            self._audit = AuditCollector(self.cluster.workers, self.contract)
            await self._journal.__aenter__()
            await self._audit.__aenter__()
            await self.join()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for crowd in self.crowds:
            crowd.kill()
        for part in (self._audit, self._journal):
            await part.__aexit__()
        await self.cluster.__aexit__()

    async def join(self) -> None:
        """All bots come to play."""
        urls = tuple(gateway.play_url for gateway in self.cluster.gateways)
        for first, count in self._parts:
            number = len(self.crowds)
            order = Order(
                urls, self.contract.title, self.cluster.key, self.shape.world, count, first,
                seed=self.shape.seed, brain=self._brain, light=self._light,
                history=str(self.folder / f"crowd-{number}.history"),
            )  # fmt: skip
            self.crowds.append(await Crowd(order, self.folder / f"crowd-{number}.log").start())
        await self.all_play()
        self.say(f"{self.bots} bots play")

    async def all_play(self) -> None:
        """Wait until the crowds tell anew that every bot plays. Raises CrowdFailed."""
        await asyncio.gather(*(crowd.all_playing(JOIN_S) for crowd in self.present))

    async def play(self, seconds: float) -> None:
        """Let time pass; says how it goes."""
        deadline = asyncio.get_running_loop().time() + seconds
        while (left := deadline - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(5.0, left))
            frames = sum(crowd.report["statistics"]["frames"] for crowd in self.present)
            self.say(f"{self.playing} of {self.bots} bots play, {frames} frames, {self._audit.samples} audit samples")
        self._note_cpu()

    def _note_cpu(self) -> None:
        """CPU seconds of every process now, and for how long they ran: for whoever asks why it was slow."""
        self.cpu_s = {node.name: node.process.cpu_s() for node in self.cluster.nodes if node.process.alive}
        pids = {f"bots-{i}": crowd.pid for i, crowd in enumerate(self.present)}
        pids |= {"redis": self.cluster.redis.pid, "observer": os.getpid()}
        for name, pid in pids.items():
            times = psutil.Process(pid).cpu_times()
            self.cpu_s[name] = times.user + times.system
        self.load = os.getloadavg()[0]
        scrapes = [node.metrics() for node in self.cluster.workers if node.process.alive]
        self.workers = reduce(Metrics.plus, scrapes, Metrics({}))

    @property
    def playing(self) -> int:
        """Bots that play now, as the crowds last told."""
        return sum(crowd.playing for crowd in self.present)

    @property
    def present(self) -> list[Crowd]:
        """Crowds that have not left."""
        return [crowd for crowd in self.crowds if not crowd.over]

    async def leave(self, *, drop: bool = False) -> None:
        """All bots say bye; or their sockets vanish."""
        await asyncio.gather(*(crowd.drop() if drop else crowd.leave() for crowd in self.present))

    async def read_journal(self) -> None:
        """Read the journal to where it ends now."""
        await self._journal.finish()

    async def finish(self) -> None:
        """Read the journal to its end. Bots must have left."""
        assert not self.present
        await asyncio.sleep(SETTLE_S)
        await self._journal.finish()

    def follow_redis(self, url: str) -> None:
        """Observe another Redis from now on (after a failover)."""
        self._journal.follow(url)

    def forget_after(self, shard: int, tick: int) -> None:
        """What a worker said of later ticks counts no more: they are known to be lost."""
        self._audit.truths[shard].forget_after(tick)

    # ------------------------------------------------------------ the check

    def lineage(self, shard: int) -> Lineage:
        """The records that lead to a shard's head."""
        return self._journal.lineage(shard)

    def histories(self, life: int | None = None) -> list[history.BotHistory]:
        """What the bots lived through; of their first, second, ... `join` only, where `life` is given."""
        each = len(self._parts)
        crowds = self.crowds if life is None else self.crowds[life * each : (life + 1) * each]
        return history.by_bot([Path(crowd.order.history) for crowd in crowds])

    def findings(self, life: int | None = None) -> Findings:
        """Check everything; of what bots saw, only what followed one `join`, where `life` is given. Takes a while."""
        grid = self.contract.grid
        found = Findings(self.bots, cpu_s=dict(self.cpu_s), load=self.load, shards=grid.shard_count)
        found.tick_ms = grid.tick_interval_us / 1000
        for name in STEPS:
            quantiles = {
                f"p{share * 100:g}": self.workers.quantile(f"overworld_{name}_seconds", share) for share in SHARES
            }
            found.steps_ms[name] = {share: 1000 * (seconds or 0.0) for share, seconds in quantiles.items()}
        lineages = [self.lineage(shard) for shard in range(found.shards)]
        self.replays = {lineage.shard: self._replay(lineage, found) for lineage in lineages}
        truths = {shard: replayed.truth for shard, replayed in self.replays.items()}
        found.account = account(self.contract, [self.replays[shard].counts for shard in range(found.shards)])
        applied, found.doubles = applied_inputs(lineages)
        histories = self.histories(life)
        self.say(f"checking {sum(len(h.entries) for h in histories)} events of {len(histories)} bots")
        found.replayed = compare(histories, truths)
        found.audited = compare(histories, self._audit.truths)
        found.inputs = audit_inputs(histories, applied, lambda who, shard, at: self.replays[shard].applied(who, at))
        found.traffic = traffic(histories)
        found.endings = endings(histories)
        found.lost_sockets = sum(len(h.of(history.Event.LOST)) for h in histories)
        return found

    def pauses(self, losses: Sequence[Loss]) -> Pauses:
        """How long bots saw nothing of the shard their avatar was in. After `findings`."""
        truths = {shard: replayed.truth for shard, replayed in self.replays.items()}
        return pauses(self.histories(), [(loss, residents(loss, truths)) for loss in losses])

    def _replay(self, lineage: Lineage, found: Findings) -> Replayed:
        replayed = replay(self.contract, self.title, lineage, later=self.later)
        found.journal_faults += lineage.faults
        found.replay_faults += replayed.faults
        found.side_branches += lineage.side_branches
        found.digests_compared += replayed.digests_compared
        found.ticks += len(lineage.records)
        for name, total in replayed.players.items():
            found.players[name] = found.players.get(name, 0) + total
        self.say(f"replayed shard {lineage.shard}: {len(lineage.records)} ticks")
        return replayed
