"""One worker process: wires the parts, announces itself, and stops in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import Any

import structlog

from overworld import telemetry
from overworld.errors import LinkError, SettingsError, StoreError
from overworld.game import Title
from overworld.link import LinkCredentials, LinkServer, listen
from overworld.settings import WorkerSettings
from overworld.shard.core import ShardCore
from overworld.store.ports import Directory, Grant, Member, Role
from overworld.worker import tasks
from overworld.worker.archiving import ArchiveLimits
from overworld.worker.host import HostLimits, Phase, ShardHost, Stores
from overworld.worker.internal_http import InternalHttp, Views
from overworld.worker.journal import JournalLimits
from overworld.worker.keeper import Keeper
from overworld.worker.leases import LeaseBook, LeaseRules
from overworld.worker.links import Links
from overworld.worker.peers import PeerEvents, Peers
from overworld.worker.post import Post
from overworld.worker.pulse import Pulse
from overworld.worker.reception import Reception, ReceptionLimits
from overworld.worker.shard_loop import LoopLimits
from overworld.worker.snapshots import SnapshotLimits
from overworld.world.contract import WorldContract

log = structlog.get_logger(__name__)

ANNOUNCE_S = 0.5
SILENT_S_MAX = 3.0
"""A worker that has not announced itself for this long is not counted when shards are shared out."""
FORGET_S = 30.0
"""A worker silent for this long is removed from the directory."""
DRAINING = "draining"


class Worker:
    """Owns and ticks shards. `start`, then wait for a signal, then `stop` (or `kill` where there is no time)."""

    def __init__(
        self,
        settings: WorkerSettings,
        contract: WorldContract,
        title: Title,
        stores: Stores,
        directory: Directory,
        cluster_key: bytes,
    ) -> None:
        """`stores` and `directory` are closed by whoever made them."""
        self._settings = settings
        self._contract = contract
        self._title = title
        self._stores = stores
        self._directory = directory
        self.name = settings.name or f"{socket.gethostname()}-{os.getpid()}"[:64]
        self._credentials = LinkCredentials(cluster_key, contract.fingerprint, self.name)
        self._http = InternalHttp(
            Views(
                liveness=lambda: self._fault,
                readiness=self._readiness,
                refresh=self._refresh_gauges,
                status=self.status,
                audit=self._audit if settings.audit_ticks else None,
            )
        )
        self._server: LinkServer | None = None
        self._links: Links | None = None
        self._keeper: Keeper | None = None
        self._peers: Peers | None = None
        self._pulse: Pulse | None = None
        self._live: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._taking = False
        self._fault = ""
        self._draining = False
        self.address = ""

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        """Listen, announce, and begin to look for shards. Raises SettingsError where a port cannot be had."""
        settings = self._settings
        loop = asyncio.get_running_loop()
        self._links = Links()
        try:
            self._server = await listen(settings.host, settings.port, self._credentials, self._links.on_link)
        except LinkError as error:
            raise SettingsError(f"the worker's link: {error}") from error
        self.address = settings.address or f"{settings.host}:{self._server.port}"
        await self._http.start(settings.http_host, settings.http_port)
        self._pulse = Pulse(settings.lease_ttl_s / 2, loop.time())
        rules = LeaseRules(settings.lease_ttl_s, settings.shards_max, settings.shards_slack)
        self._keeper = Keeper(
            self._contract.grid.shard_count,
            self.address,
            LeaseBook(self._contract.grid.shard_count, self.address, rules),
            self._stores.ownership,
            self._stores.shelf,
            self._links,
            self._new_host,
            lambda: self._live,
            poll_s=settings.lease_ttl_s / 5,
        )
        self._peers = Peers(self._credentials, PeerEvents(gone=self._keeper.suspect, here=self._keeper.trust))
        telemetry.commit_level.set(self._stores.ownership.commit.level)
        log.info(
            "worker_started",
            name=self.name,
            address=self.address,
            http_port=self._http.port,
            world=self._contract.world,
            title=f"{self._contract.title} {self._contract.title_version}",
            commit_level=self._stores.ownership.commit.level.name,
        )
        self._tasks = [
            loop.create_task(self._beat_pulse(self._pulse)),
            loop.create_task(self._announce_always(self._peers)),
            loop.create_task(self._keep(self._keeper)),
        ]
        for task in self._tasks:
            task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        """A mistake of ours: /livez says so, and whoever runs us starts us again."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fault = f"{task.get_name()} failed: {error!r}"
            log.error("worker_task_failed", reason=repr(error), exc_info=error)

    async def stop(self) -> bool:
        """Finish the tick, save every shard, give the leases back. True where all of that was done in time."""
        self._draining = True
        log.info("worker_stops", name=self.name, shards=len(self._hosts))
        await self._announce()
        done = await self._keeper.drain(self._settings.stop_timeout_s) if self._keeper else True
        if not done:
            log.error("worker_stop_incomplete", shards=sorted(self._hosts))
        await self.kill()
        with contextlib.suppress(StoreError):
            await self._directory.withdraw(Role.WORKER, self.name)
        log.info("worker_stopped", name=self.name, in_order=done)
        return done

    async def kill(self) -> None:
        """Drop everything where it stands. Nothing that was released is lost: others take over from the journal."""
        self._draining = True
        if self._keeper is not None:
            await self._keeper.abort()
        await tasks.end(self._tasks)
        if self._peers is not None:
            await self._peers.close()
        if self._server is not None:
            await self._server.close()
        await self._http.close()

    # ------------------------------------------------------------ what it runs

    @property
    def _hosts(self) -> dict[int, ShardHost]:
        return self._keeper.hosts if self._keeper else {}

    @property
    def http_port(self) -> int:
        """Where the internal port listens."""
        return self._http.port

    def _new_host(self, grant: Grant) -> ShardHost:
        settings, contract = self._settings, self._contract
        assert self._pulse is not None
        assert self._keeper is not None
        assert self._links is not None
        assert self._peers is not None
        phase = grant.shard / contract.grid.shard_count
        limits = HostLimits(
            journal=JournalLimits(settings.ticks_in_flight_max, settings.ticks_kept_max),
            loop=LoopLimits(settings.ticks_held_max, settings.digest_ticks, phase, settings.lease_ttl_s / 4),
            snapshots=SnapshotLimits(settings.snapshot_interval_s, settings.snapshot_timeout_s),
            archive=ArchiveLimits(
                settings.archive_interval_s, settings.archive_state_interval_s, settings.snapshot_timeout_s
            ),
            audit_ticks=settings.audit_ticks,
            recovery_timeout_s=settings.recovery_timeout_s,
            drain_timeout_s=settings.stop_timeout_s / 2,
        )
        reception = Reception(contract, grant.shard, ReceptionLimits(settings.sessions_max, settings.attach_wait_s))

        def new_core() -> ShardCore:
            return ShardCore(contract, self._title, grant.shard)

        post = Post(here=self._links.hand_over, owner=self._keeper.owner, there=self._peers.send)
        return ShardHost(grant, self.address, new_core, reception, self._stores, self._pulse, limits, post=post)

    # ------------------------------------------------------------ tasks

    async def _beat_pulse(self, pulse: Pulse) -> None:
        loop = asyncio.get_running_loop()
        pause_s = self._settings.lease_ttl_s / 20
        while True:
            await asyncio.sleep(pause_s)
            if pulse.beat(loop.time()):
                telemetry.loop_gaps_total.inc()
                log.warning("worker_stood_still", seconds_min=self._settings.lease_ttl_s / 2)

    async def _announce_always(self, peers: Peers) -> None:
        while True:
            await self._announce()
            members = await self._members()
            if members is not None:
                live = [m for m in members if m.silent_s < SILENT_S_MAX]
                self._live = [m.address for m in live if not m.load.get(DRAINING)]
                peers.follow({m.address for m in live} - {self.address})
            # More often at first: whoever starts at the same time must have been heard before shards are shared out.
            await asyncio.sleep(ANNOUNCE_S if self._taking else min(ANNOUNCE_S, self._settings.start_wait_s / 4))

    async def _announce(self) -> None:
        load = {"shards": float(len(self._hosts)), DRAINING: float(self._draining)}
        try:
            await self._directory.announce(Role.WORKER, self.name, self.address, load)
        except StoreError as error:
            log.debug("announce_failed", reason=str(error))

    async def _members(self) -> list[Member] | None:
        try:
            members = await self._directory.workers(asyncio.get_running_loop().time())
            for member in members:
                if member.silent_s >= FORGET_S and await self._directory.forget(member):
                    log.info("worker_forgotten", name=member.name, address=member.address)
        except StoreError as error:
            log.debug("members_unknown", reason=str(error))
            return None
        return members

    async def _keep(self, keeper: Keeper) -> None:
        # Workers that start together must know of each other before they share the shards out.
        await asyncio.sleep(self._settings.start_wait_s)
        self._taking = True
        await keeper.run()

    # ------------------------------------------------------------ views

    def _readiness(self) -> str:
        if self._draining or self._fault:
            return self._fault or "stopping"
        if self._keeper is None or not self._keeper.looked:
            return "has not seen the shards' heads yet"
        recovering = [shard for shard, host in self._hosts.items() if host.phase is Phase.RECOVERING]
        return f"recovering shards {recovering}" if recovering else ""

    def _refresh_gauges(self) -> None:
        hosts = list(self._hosts.values())
        for phase in Phase:
            telemetry.shards_owned.labels(phase.value).set(sum(host.phase is phase for host in hosts))
        cores = [host.core for host in hosts if host.core is not None]
        telemetry.entities.set(sum(len(table) for core in cores for table in core.shard.tables))
        telemetry.players_online.set(sum(int((core.shard.players.online > 0).sum()) for core in cores))
        telemetry.ticks_held.set(sum(host.held for host in hosts))
        telemetry.outbox_waiting.set(sum(host.outbox_waiting for host in hosts))
        ages = [host.snapshot_age_s for host in hosts if host.core is not None]
        telemetry.snapshot_age_seconds.set(max(ages, default=0.0))
        telemetry.archive_lag_ticks.set(max((host.archive_lag_ticks for host in hosts), default=0))

    def status(self) -> dict[str, Any]:
        """What an operator asks first, as plain data."""
        shards = [
            {
                "shard": shard,
                "epoch": host.epoch,
                "phase": host.phase.value,
                "tick": host.core.tick if host.core else 0,
                "held": host.held,
                "players": int((host.core.shard.players.online > 0).sum()) if host.core else 0,
                "entities": sum(len(table) for table in host.core.shard.tables) if host.core else 0,
                "snapshot_age_s": round(host.snapshot_age_s, 1),
            }
            for shard, host in sorted(self._hosts.items())
        ]
        return {
            "name": self.name,
            "address": self.address,
            "world": self._contract.world,
            "title": self._contract.title,
            "commit_level": int(self._stores.ownership.commit.level),
            "draining": self._draining,
            "shards": shards,
        }

    def _audit(self, shard: int, tick: int) -> dict[str, Any] | None:
        host = self._hosts.get(shard)
        if host is None or not host.audit.ticks:
            return None
        state = host.audit.state(self._contract.grid, shard, tick or host.audit.ticks[-1])
        return state | {"epoch": host.epoch} if state else None
