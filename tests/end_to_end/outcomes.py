"""What tests of faults look at besides the bots' histories: logs, metrics and heads of a running cluster."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis

from loadtest.cluster import Cluster, Node
from loadtest.findings import Findings
from loadtest.history import BotHistory, Event
from loadtest.prove.proof import Proof
from loadtest.prove.soundness import require_sound
from overworld.client.mirror import LightMirror
from overworld.store import keys

WAIT_S = 60.0


async def until(condition: Callable[[], Any], what: str) -> None:
    """Wait until something holds of running processes."""
    deadline_s = asyncio.get_running_loop().time() + WAIT_S
    while not condition():
        assert asyncio.get_running_loop().time() < deadline_s, f"waited {WAIT_S:g} s in vain: {what}"
        await asyncio.sleep(0.1)


def assert_sound(found: Findings) -> None:
    """Nothing that players were promised is broken."""
    proof = Proof("sound")
    require_sound(proof, found)
    assert proof.broken == []


def events(node: Node, name: str) -> list[dict[str, Any]]:
    """A process's log lines of one event."""
    lines = node.process.log.read_text(errors="replace").splitlines()
    return [found for found in map(_parsed, lines) if found.get("event") == name]


def _parsed(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def assert_no_stack_trace(cluster: Cluster) -> None:
    """No process told of an error by a stack trace, and all live."""
    for node in cluster.nodes:
        assert "Traceback" not in node.process.log.read_text(errors="replace"), node.process.log_tail()
        assert node.process.alive, node.process.log_tail()


def total(nodes: list[Node], metric: str, **labels: str) -> float:
    """A metric's sum over processes that run."""
    return sum(node.metrics().total(metric, **labels) for node in nodes if node.process.alive)


async def heads(cluster: Cluster, shards: int) -> list[dict[str, int]]:
    """epoch, tick and floor of every shard, by Redis's word."""
    found = []
    async with Redis.from_url(cluster.redis_url, socket_timeout=5) as client:
        for shard in range(shards):
            values: Any = await client.hmget(keys.own(cluster.shape.world, shard), ["epoch", "tick", "floor"])
            found.append(dict(zip(("epoch", "tick", "floor"), (int(value or 0) for value in values), strict=True)))
    return found


def shown(histories: list[BotHistory]) -> dict[int, dict[int, set[int]]]:
    """Every tick that any bot was shown: by shard, then by epoch."""
    found: dict[int, dict[int, set[int]]] = {}
    for history in histories:
        for entry in history.of(Event.FRAME):
            for head in LightMirror().parse(entry.body).heads:
                found.setdefault(head.shard, {}).setdefault(head.epoch, set()).add(head.tick)
    return found
