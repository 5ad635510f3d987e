"""Sends script calls over lanes: one dedicated connection for each Redis node and kind of confirmation.

Works with a single server (any endpoint that leads to the primary) and with a cluster, where a key's slot says which
node it belongs to and may move while commands are waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from overworld.errors import StoreUnavailable
from overworld.store.lane import Command, Confirmation, Connect, Lane, LaneLimits
from overworld.store.ports import CommitLevel, CommitPolicy
from overworld.store.resp import pack
from overworld.store.scripts import Script

log = structlog.get_logger(__name__)

TOPOLOGY_S_MAX = 2.0
WAITAOF_STEP_MS = 10


def confirmation_for(policy: CommitPolicy) -> Confirmation | None:
    """What follows each batch at this commit level; None where the reply itself is enough."""
    wait_ms, wait_s = policy.replica_wait_ms_max, policy.replica_wait_ms_max / 1000
    if policy.level >= CommitLevel.L3 and not policy.fsync_always:
        # A replica tells what is on its disk when it is asked, and else once a second; asked in one packet with the
        # writes, it tells of the time before them. So it is asked after the replies, and again in short steps.
        command = pack(b"WAITAOF", b"1", b"%d" % policy.replicas, b"%d" % WAITAOF_STEP_MS)
        describe = f"WAITAOF 1 {policy.replicas} in {wait_ms} ms (this disk and {policy.replicas} replicas' disks)"
        asks = max(1, wait_ms // WAITAOF_STEP_MS)
        return Confirmation(command, wait_s, describe, lambda r: r[0] >= 1 and r[1] >= policy.replicas, asks)
    if policy.level >= CommitLevel.L2 and policy.replicas > 0:
        command = pack(b"WAIT", b"%d" % policy.replicas, b"%d" % wait_ms)
        describe = f"WAIT {policy.replicas} {wait_ms} (that many replicas)"
        return Confirmation(command, wait_s, describe, lambda r: r >= policy.replicas)
    return None


class GroupCommit:
    """Shared by every shard of a process, whatever their worlds and commit levels."""

    def __init__(self, client: Redis | RedisCluster, limits: LaneLimits | None = None) -> None:
        self._client = client
        self._limits = limits or LaneLimits()
        self._lanes: dict[tuple[str, CommitPolicy], Lane] = {}
        self._pins: dict[tuple[bytes, CommitPolicy], Lane] = {}
        self._policies: dict[Lane, CommitPolicy] = {}
        self._refreshed = 0
        self._refreshing = asyncio.Lock()
        self._closed = False

    @property
    def fill(self) -> dict[str, float]:
        """How full the fullest lane's queue is, as parts of its bounds."""
        fills = [lane.fill for lane in self._lanes.values()] or [(0.0, 0.0)]
        return {
            "journal_commands": max(commands for commands, _ in fills),
            "journal_bytes": max(size for _, size in fills),
        }

    async def run(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes], policy: CommitPolicy, timeout_s: float
    ) -> Any:
        """The script's reply, once confirmed as the policy asks. keys[0] orders the call and names its slot.

        Raises StoreUnavailable (outcome unknown), NotReplicated, StoreRefused.
        """
        if self._closed:
            raise StoreUnavailable("Redis: this process has closed its stores")
        loop = asyncio.get_running_loop()
        command = Command(script, list(keys), list(args), loop.create_future(), loop.time() + timeout_s)
        self._lane(command.key, policy).submit(command)
        return await command.future

    async def close(self) -> None:
        self._closed = True
        lanes, self._lanes = list(self._lanes.values()), {}
        self._pins.clear()
        self._policies.clear()
        for lane in lanes:
            await lane.close()

    # ------------------------------------------------------------ which lane

    def _lane(self, key: bytes, policy: CommitPolicy) -> Lane:
        """A key stays on its lane until that lane hands its commands over, so that they cannot overtake each other."""
        lane = self._pins.get((key, policy))
        if lane is None:
            lane = self._lane_by_slot(key, policy)
            self._pins[key, policy] = lane
        return lane

    def _lane_by_slot(self, key: bytes, policy: CommitPolicy) -> Lane:
        where, connect = self._node(key)
        lane = self._lanes.get((where, policy))
        if lane is None:
            lane = Lane(where, connect, confirmation_for(policy), self._limits, self._relocate)
            self._lanes[where, policy] = lane
            self._policies[lane] = policy
        return lane

    def _node(self, key: bytes) -> tuple[str, Connect]:
        """Name of the node that has the key, and how to open a connection to it."""
        client = self._client
        if isinstance(client, RedisCluster):
            try:
                node = client.get_node_from_key(key.decode())
            except RedisError as error:
                raise StoreUnavailable(f"Redis cluster: no node for {key.decode()}: {error}") from error
            assert node is not None
            return node.name, _connector(node.connection_class, node.connection_kwargs)
        pool = client.connection_pool
        kwargs = pool.connection_kwargs
        where = f"{kwargs.get('host', kwargs.get('path', '?'))}:{kwargs.get('port', '')}"
        return where, _connector(pool.connection_class, kwargs)

    async def _relocate(self, lane: Lane, moved: bool) -> None:
        """Ask the cluster for its slots again and move waiting commands to where their keys are now."""
        if not isinstance(self._client, RedisCluster):
            return
        seen = self._refreshed
        async with self._refreshing:
            if self._refreshed == seen:
                try:
                    async with asyncio.timeout(TOPOLOGY_S_MAX):
                        await self._client.nodes_manager.initialize()
                except (RedisError, OSError, TimeoutError) as error:
                    log.warning("redis_cluster_slots_unknown", where=lane.where, moved=moved, reason=str(error))
                    return
                self._refreshed += 1
        # From here to the end nothing is awaited: a new command cannot slip in between.
        policy = self._policies.get(lane)
        if policy is None:
            return
        for pinned in [pin for pin, pinned_lane in self._pins.items() if pinned_lane is lane]:
            del self._pins[pinned]
        for command in lane.take_queued():
            try:
                self._lane(command.key, policy).submit(command)
            except StoreUnavailable as error:
                command.trouble = str(error)
                command.give_up(lane.where)


def _connector(connection_class: type[AbstractConnection], settings: dict[str, Any]) -> Connect:
    """Opens connections like the client's own, but with no timeouts and no retries: the lane has its own."""
    kwargs = {**settings, "socket_timeout": None, "retry": Retry(NoBackoff(), 0), "health_check_interval": 0}

    def connect() -> AbstractConnection:
        return connection_class(**kwargs)

    return connect
