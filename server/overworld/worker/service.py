"""One worker process: wires the parts, announces itself, and stops in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import Any

import structlog

from overworld import telemetry
from overworld.admin.api import AdminApi
from overworld.admin.cluster import PAUSED, Cluster
from overworld.admin.node import told_address
from overworld.admin.oidc import Oidc
from overworld.admin.tokens import AdminTokens
from overworld.errors import LinkError, SettingsError, StoreError
from overworld.game import Title
from overworld.link import Link, LinkCredentials, LinkServer, OwnCertificate, listen
from overworld.link.keys import Key
from overworld.settings import WorkerSettings
from overworld.shard.core import ShardCore
from overworld.store.ports import Directory, Grant, Member, Role
from overworld.wire.v1 import link_pb2
from overworld.worker import gauges, tasks
from overworld.worker.admin import worker_node
from overworld.worker.archiving import ArchiveLimits
from overworld.worker.balancer import Balancer, Picture, rules_of
from overworld.worker.dilation import Pace
from overworld.worker.follower import Follower
from overworld.worker.following import Followings, FollowLimits
from overworld.worker.hibernation import RestLimits
from overworld.worker.host import Phase, ShardHost
from overworld.worker.internal_http import InternalHttp, Views
from overworld.worker.journal import JournalLimits
from overworld.worker.keeper import Keeper, Makers, Members
from overworld.worker.leases import LeaseBook, LeaseRules
from overworld.worker.links import Links
from overworld.worker.load import CAPACITY, DRAINING, EMPTIED, SHARDS_MAX, LoadBook, Worked, picture
from overworld.worker.migration import MigrationLimits, Migrations, Outcome
from overworld.worker.overload import Overload
from overworld.worker.peers import PeerEvents, Peers
from overworld.worker.post import Post
from overworld.worker.pulse import Pulse
from overworld.worker.reception import Reception, ReceptionLimits
from overworld.worker.roster import TITLE_VERSION, Roster, roster_of
from overworld.worker.shard_loop import LoopLimits
from overworld.worker.snapshots import SnapshotLimits
from overworld.worker.status import shard_status
from overworld.worker.takeover import HostLimits, Stores
from overworld.world.contract import WorldContract

log = structlog.get_logger(__name__)

ANNOUNCE_S = 0.5
FORGET_S = 30.0
"""A worker silent for this long is removed from the directory."""
DRAIN_PART = 0.5
"""Of the time for an orderly stop, what migrations may take; the rest is for saving what nobody took."""


class Worker:
    """Owns and ticks shards. `start`, then wait for a signal, then `stop` (or `kill` where there is no time)."""

    def __init__(
        self,
        settings: WorkerSettings,
        contract: WorldContract,
        title: Title,
        stores: Stores,
        directory: Directory,
        cluster_key: Key,
        admin_token: str = "",
        oidc: Oidc | None = None,
    ) -> None:
        """`stores` and `directory` are closed by whoever made them. `admin_token`: good for the admin API besides the
        signed ones; empty: none is.
        """
        self._settings = settings
        self._contract = contract
        self._title = title
        self._stores = stores
        self._directory = directory
        self.name = settings.name or f"{socket.gethostname()}-{os.getpid()}"[:64]
        self._credentials = LinkCredentials(cluster_key, contract.play_fingerprint, self.name)
        self._admin_tokens = AdminTokens(cluster_key, admin_token, oidc)
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
        self._followings: Followings | None = None
        self._migrations: Migrations | None = None
        self._peers: Peers | None = None
        self._pulse: Pulse | None = None
        self._balancer: Balancer | None = None
        self._loads = LoadBook()
        self._pace = Pace()
        self._roster = Roster()
        self._tasks: list[asyncio.Task[None]] = []
        self._taking = False
        self._fault = ""
        self._draining = self._emptied = False
        self.paused = ""
        """Who lets the world stand still, and since when; empty while it goes on."""
        self.address = ""

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        """Listen, announce, and begin to look for shards. Raises SettingsError where a port cannot be had."""
        settings = self._settings
        loop = asyncio.get_running_loop()
        self._links = Links(self._on_question)
        try:
            certificate = OwnCertificate.make() if settings.link_tls else None
            self._server = await listen(
                settings.host, settings.port, self._credentials, self._links.on_link, certificate=certificate
            )
        except LinkError as error:
            raise SettingsError(f"the worker's link: {error}") from error
        self.address = settings.address or f"{settings.host}:{self._server.port}"
        await self._http.start(settings.http_host, settings.http_port, self._admin())
        self._pulse = Pulse(settings.lease_ttl_s / 2, loop.time())
        self._wire(self._links)
        assert self._keeper is not None
        assert self._peers is not None
        gauges.introduce(self._contract)
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
            loop.create_task(Overload(self._pace, settings.dilation_max, self._links.served, self._contract).run()),
        ]
        if settings.balance:
            self._balancer = self._new_balancer()
            self._tasks.append(loop.create_task(self._even_out(self._balancer)))
        for task in self._tasks:
            task.add_done_callback(self._task_ended)

    def _wire(self, links: Links) -> None:
        """The parts that decide about shards."""
        settings, shards, stores = self._settings, self._contract.grid.shard_count, self._stores
        rules = LeaseRules(
            settings.lease_ttl_s,
            settings.shards_max,
            settings.shards_slack,
            settings.standbys,
            settings.standby_shards_max,
            self._contract.title_version,
        )
        tick_s = self._contract.grid.tick_interval_us / 1e6
        poll_s = settings.standby_poll_s
        follow = FollowLimits(settings.lease_ttl_s, poll_s, min(poll_s, tick_s / 2))
        self._followings = Followings(self._new_core, stores.ownership, stores.shelf, follow)
        self._keeper = Keeper(
            shards,
            self.address,
            LeaseBook(shards, self.address, rules),
            stores.ownership,
            stores.shelf,
            links,
            self._followings,
            Makers(self._new_reception, self._new_host),
            Members(lambda: self._roster, lambda: self._emptied and bool(self._roster.live)),
            poll_s=settings.lease_ttl_s / 5,
        )
        self._peers = Peers(self._credentials, PeerEvents(gone=self._keeper.suspect, here=self._keeper.trust))
        limits = MigrationLimits(move_s=settings.move_timeout_s, moves_at_once_max=settings.moves_at_once_max)
        self._migrations = Migrations(
            self.address, self._keeper, self._followings, stores.shelf, self._peers, limits, self._contract
        )

    def _admin(self) -> AdminApi:
        node = worker_node(
            self.name,
            self._contract.world,
            self.status,
            self.picture,
            rules_of(self._settings),
            lambda: self._balancer,
            lambda shard: self.migrate(shard, self.address),
            self.empty,
            lambda: self._hosts,
        )
        shards, tokens = self._contract.grid.shard_count, self._admin_tokens
        return AdminApi(node, Cluster(node, shards, self._directory, tokens, asyncio.get_running_loop().time), tokens)

    def _on_question(self, link: Link, message: link_pb2.LinkMessage) -> None:
        """Another worker asks about moving a shard. Before all parts are there nothing can be moved."""
        if self._migrations is not None:
            self._migrations.on_question(link, message)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        """A mistake of ours: /livez says so, and whoever runs us starts us again."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fault = f"{task.get_name()} failed: {error!r}"
            log.error("worker_task_failed", reason=repr(error), exc_info=error)

    async def stop(self) -> bool:
        """Move every shard to another worker while it is played; where there is none, finish the tick, save it, and
        give the lease back. True where all of that was done in time.
        """
        self._draining = True
        log.info("worker_stops", name=self.name, shards=len(self._hosts))
        if self._balancer is not None:
            await self._balancer.close()
        until_s = asyncio.get_running_loop().time() + self._settings.stop_timeout_s
        await self._announce()
        done = True
        if self._keeper is not None and self._migrations is not None:
            self._keeper.retire()
            left = await self._migrations.move_away(self._targets, self._settings.stop_timeout_s * DRAIN_PART)
            log.info("worker_drained", name=self.name, shards_left=left)
            done = await self._keeper.drain(until_s - asyncio.get_running_loop().time())
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
        if self._migrations is not None:
            await self._migrations.close()
        if self._followings is not None:
            await self._followings.close()
        await tasks.end(self._tasks)
        if self._peers is not None:
            await self._peers.close()
        if self._server is not None:
            await self._server.close()
        await self._http.close()

    async def migrate(self, shard: int, to_address: str) -> Outcome:
        """Move a shard from whichever worker owns it to the worker at `to_address`: see `Migrations.migrate`. For the
        admin API and the balancer; a migration that may not be is refused, never raised.
        """
        if self._migrations is None:
            return Outcome("refused", "this worker has not started yet")
        return await self._migrations.migrate(shard, to_address)

    def empty(self, emptied: bool) -> None:
        """Take no shards, and let the balancer move those that are here to others; or take them again."""
        if emptied != self._emptied:
            log.info("worker_to_be_empty" if emptied else "worker_takes_shards", name=self.name)
        self._emptied = emptied
        if self._keeper is not None:
            self._keeper.closed_to_moves = "this worker is drained" if emptied else ""

    def _targets(self) -> list[str]:
        """Workers that a shard of this one can be moved to: live, not draining, and of a newer version of the title
        where there are any: an upgrade is under way then, and each shard is to move once.
        """
        linked = self._peers.linked if self._peers is not None else set()
        newer = [address for address in self._roster.newer if address in linked]
        return sorted(newer or [a for a in self._roster.live if a in linked and a != self.address])

    # ------------------------------------------------------------ what it runs

    @property
    def _hosts(self) -> dict[int, ShardHost]:
        return self._keeper.hosts if self._keeper else {}

    @property
    def http_port(self) -> int:
        """Where the internal port listens."""
        return self._http.port

    def _new_core(self, shard: int) -> ShardCore:
        return ShardCore(self._contract, self._title, shard)

    def _new_reception(self, shard: int) -> Reception:
        limits = ReceptionLimits(self._settings.sessions_max, self._settings.attach_wait_s)
        return Reception(self._contract, shard, limits)

    def _new_host(self, grant: Grant, reception: Reception, standby: Follower | None) -> ShardHost:
        settings, contract = self._settings, self._contract
        assert self._pulse is not None
        assert self._keeper is not None
        assert self._links is not None
        assert self._peers is not None
        phase = grant.shard / contract.grid.shard_count
        limits = HostLimits(
            journal=JournalLimits(settings.ticks_in_flight_max, settings.ticks_kept_max),
            loop=LoopLimits(
                settings.ticks_held_max,
                settings.digest_ticks,
                phase,
                settings.lease_ttl_s / 4,
                RestLimits(settings.sleep_after_s, settings.leave_after_s),
                self._pace,
            ),
            snapshots=SnapshotLimits(settings.snapshot_interval_s, settings.snapshot_timeout_s),
            archive=ArchiveLimits(
                settings.archive_interval_s, settings.archive_state_interval_s, settings.snapshot_timeout_s
            ),
            audit_ticks=settings.audit_ticks,
            recovery_timeout_s=settings.recovery_timeout_s,
            drain_timeout_s=settings.stop_timeout_s / 2,
        )

        def new_core() -> ShardCore:
            return self._new_core(grant.shard)

        post = Post(here=self._links.hand_over, owner=self._keeper.owner, there=self._peers.send)
        host = ShardHost(grant, self.address, new_core, reception, self._stores, self._pulse, limits, standby, post)
        host.pause(bool(self.paused))
        return host

    def _new_balancer(self) -> Balancer:
        async def migrate(shard: int, to_address: str) -> str:
            outcome = await self.migrate(shard, to_address)
            return "" if outcome.moved else outcome.reason or outcome.result

        # Workers of several versions balance apart: none can go on with what a newer one wrote.
        task = f"balance:{self._contract.world}:{self._contract.title_version}"
        return Balancer(task, self.name, self._directory, self.picture, migrate, rules_of(self._settings))

    def picture(self) -> Picture:
        """What there is to balance, as it was last heard."""
        keeper = self._keeper
        owners = {n: keeper.owner(n) for n in range(self._contract.grid.shard_count)} if keeper else {}
        return picture(self._roster.same, owners)

    # ------------------------------------------------------------ tasks

    async def _beat_pulse(self, pulse: Pulse) -> None:
        loop = asyncio.get_running_loop()
        pause_s = self._settings.lease_ttl_s / 20
        while True:
            due_s = loop.time() + pause_s
            await asyncio.sleep(pause_s)
            telemetry.worker_loop_late_seconds.observe(max(0.0, loop.time() - due_s))
            if pulse.beat(loop.time()):
                telemetry.loop_gaps_total.inc()
                log.warning("worker_stood_still", seconds_min=self._settings.lease_ttl_s / 2)

    async def _announce_always(self, peers: Peers) -> None:
        while True:
            await self._announce()
            await self._read_flags()
            members = await self._members()
            if members is not None:
                self._heard(roster_of(members, self._version, self.address))
                peers.follow(set(self._roster.others))
            # More often at first: whoever starts at the same time must have been heard before shards are shared out.
            await asyncio.sleep(ANNOUNCE_S if self._taking else min(ANNOUNCE_S, self._settings.start_wait_s / 4))

    async def _announce(self) -> None:
        self._loads.look(self._worked(), asyncio.get_running_loop().time())
        load = {
            "shards": float(len(self._hosts)),
            DRAINING: float(self._draining),
            EMPTIED: float(self._emptied),
            CAPACITY: self._settings.capacity,
            SHARDS_MAX: float(self._settings.shards_max),
            TITLE_VERSION: self._version,
            **self._loads.announcement(),
        }
        try:
            http = told_address(self._settings.http_host, self._http.port, self.address.rpartition(":")[0])
            await self._directory.announce(Role.WORKER, self.name, self.address, load, http)
        except StoreError as error:
            log.debug("announce_failed", reason=str(error))

    def _worked(self) -> dict[int, Worked]:
        """What the shards that run here have done."""
        found = {}
        for shard, host in self._hosts.items():
            core = host.core
            if core is not None:
                found[shard] = Worked(*host.worked, gauges.entities_of(core), gauges.players_of(core))
            elif host.phase is Phase.AWAY:
                found[shard] = Worked(*host.worked)
        return found

    async def _read_flags(self) -> None:
        """What operators order the world to do. While that cannot be read, the last order stands."""
        try:
            paused = (await self._directory.flags(self._contract.world)).get(PAUSED, "")
        except StoreError as error:
            log.debug("flags_unknown", reason=str(error))
            return
        if bool(paused) != bool(self.paused):
            log.info("world_paused" if paused else "world_goes_on", by=paused or self.paused)
        self.paused = paused
        telemetry.shards_paused.set(bool(paused))
        for host in self._hosts.values():
            host.pause(bool(paused))

    @property
    def _version(self) -> float:
        return float(self._contract.title_version)

    def _heard(self, roster: Roster) -> None:
        if roster.older != self._roster.older:
            told = "waits_for_older_version" if roster.older else "older_version_gone"
            log.info(told, version=self._contract.title_version)
        self._roster = roster

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

    async def _even_out(self, balancer: Balancer) -> None:
        await asyncio.sleep(self._settings.start_wait_s)
        await balancer.run()

    # ------------------------------------------------------------ views

    def _readiness(self) -> str:
        if self._draining or self._fault:
            return self._fault or "stopping"
        if self._keeper is None or not self._keeper.looked:
            return "has not seen the shards' heads yet"
        recovering = [shard for shard, host in self._hosts.items() if host.phase is Phase.RECOVERING]
        return f"recovering shards {recovering}" if recovering else ""

    def _refresh_gauges(self) -> None:
        lags = self._followings.lags.values() if self._followings else ()
        links = max(part.fill if part is not None else 0.0 for part in (self._links, self._peers))
        queues = {"link_bytes": links, **self._stores.ownership.fill}
        gauges.refresh(self._hosts, self._loads, lags, queues, self._settings.ticks_held_max)

    def status(self) -> dict[str, Any]:
        """What an operator asks first, as plain data."""
        shards = [shard_status(shard, host, self._loads) for shard, host in sorted(self._hosts.items())]
        return {
            "name": self.name,
            "address": self.address,
            "world": self._contract.world,
            "title": self._contract.title,
            "commit_level": int(self._stores.ownership.commit.level),
            "title_version": self._contract.title_version,
            "draining": self._draining,
            "emptied": self._emptied,
            "paused": self.paused,
            "dilation": self._pace.factor,
            "shards": shards,
            "standbys": {str(shard): lag for shard, lag in (self._followings.lags if self._followings else {}).items()},
        }

    def _audit(self, shard: int, tick: int) -> dict[str, Any] | None:
        host = self._hosts.get(shard)
        if host is None or not host.audit.ticks:
            return None
        state = host.audit.state(self._contract.grid, shard, tick or host.audit.ticks[-1])
        return state | {"epoch": host.epoch} if state else None
