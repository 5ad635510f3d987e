"""What a worker shows and lets be done over the admin API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

from overworld.admin.node import Node, View, flag_of, number_of
from overworld.errors import AdminError
from overworld.store.ports import Role
from overworld.worker.balance import BalanceRules, Floor, plan
from overworld.worker.balancer import Balancer, Picture, unbalanced
from overworld.worker.cell_checks import Checked, answered
from overworld.worker.migration import REFUSED, Outcome


def worker_node(
    name: str,
    world: str,
    status: View,
    picture: Callable[[], Picture],
    rules: BalanceRules,
    balancer: Callable[[], Balancer | None],
    take: Callable[[int], Awaitable[Outcome]],
    empty: Callable[[bool], None],
    hosts: Callable[[], Mapping[int, Checked]],
) -> Node:
    """`status`: what the process says of itself; `balancer`: None where it takes no part; `take` moves a shard here;
    `hosts`: what runs which shard here.
    """

    def shown() -> dict[str, Any]:
        part = balancer()
        return status() | {"leads": part is not None and part.leads}

    def balance() -> dict[str, Any]:
        part, (workers, shards) = balancer(), picture()
        floor = Floor({w.address: w for w in workers}, {s.shard: s for s in shards}, rules)
        return {
            "world": world,
            "leader": part.leader if part is not None else "",
            "on": part is not None,
            "unbalanced": round(unbalanced(workers, shards, rules), 3),
            "mean_ms_per_s": round(floor.mean, 2),
            "workers": [
                asdict(w) | {"load_ms_per_s": round(floor.loads[w.address], 2), "shards": floor.counts[w.address]}
                for w in workers
            ],
            "under_way": [asdict(move) for move in (part.under_way if part is not None else [])],
            "plan": [asdict(move) for move in plan(workers, shards, rules)],
        }

    async def drain(body: Mapping[str, Any]) -> dict[str, Any]:
        undo = flag_of(body, "undo")
        empty(not undo)
        part = balancer()
        return {"worker": name, "emptied": not undo, "balanced": part is not None}

    async def take_shard(body: Mapping[str, Any]) -> dict[str, Any]:
        shard = number_of(body, "shard")
        outcome = await take(shard)
        if not outcome.moved:
            raise AdminError(409 if outcome.result == REFUSED else 502, f"shard {shard}: {outcome.reason}")
        return {"shard": shard, "owner": name, "pause_ms": round(outcome.pause_s * 1000, 1)}

    async def check(body: Mapping[str, Any]) -> dict[str, Any]:
        return await answered(hosts().get(number_of(body, "shard")), body)

    actions = {"drain": drain, "take": take_shard, "check": check}
    return Node(Role.WORKER, name, world, {"": shown, "balance": balance}, actions)
