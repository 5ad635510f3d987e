"""The whole cluster, seen and ordered from any of its processes: asks the directory who is there, and those themselves
over their internal ports. What does not answer is named, never left out.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from overworld.admin.node import PATH, Node
from overworld.admin.rank import Caller
from overworld.admin.tokens import SCOPES, AdminTokens
from overworld.errors import AdminError, StoreError
from overworld.http_answers import read_whole
from overworld.store.ports import Directory, Member, Role

ASK_TIMEOUT_S = 3.0
MOVE_TIMEOUT_S = 60.0
CHECK_TIMEOUT_S = 15.0
"""Longer than a worker waits for a tick to be committed."""
TOKEN_TTL_S = 30.0
SILENT_S_MAX = 5.0
"""A process that has not announced itself for this long is not asked."""
ANSWER_BYTES_MAX = 32 << 20
PAUSED = "paused"
"""The world's flag while it is to stand still; its value says who wants that, and since when."""
Answers = list[tuple[Member, dict[str, Any]]]


class Cluster:
    """As one process sees it. `shard_count`: of the world it serves; `now_s`: monotonic."""

    def __init__(
        self, node: Node, shard_count: int, directory: Directory, tokens: AdminTokens, now_s: Callable[[], float]
    ) -> None:
        self._node = node
        self._shard_count = shard_count
        self._directory = directory
        self._tokens = tokens
        self._now_s = now_s
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close connections to other processes."""
        if self._session is not None:
            await self._session.close()

    # ------------------------------------------------------------ views

    async def workers(self, caller: Caller) -> list[dict[str, Any]]:
        """One row a worker."""
        rows = []
        for member, seen in await self._ask_all(Role.WORKER, caller):
            row = _member_row(member, seen)
            load = member.load
            row |= {name: int(load.get(name, 0)) for name in ("shards", "entities", "players")}
            row |= {"cpu_ms_per_s": load.get("cpu", 0.0), "capacity": load.get("capacity", 1.0)}
            row |= {name: bool(load.get(name)) for name in ("draining", "emptied")}
            row |= {"leads": bool(seen.get("leads")), "title_version": seen.get("title_version", 0)}
            rows.append(row)
        return rows

    async def gateways(self, caller: Caller) -> list[dict[str, Any]]:
        """One row a gateway."""
        names = ("sockets", "sessions", "behind", "backlog_bytes", "draining")
        return [
            _member_row(member, seen) | {name: seen.get(name, 0) for name in names}
            for member, seen in await self._ask_all(Role.GATEWAY, caller)
        ]

    async def shards(self, caller: Caller) -> list[dict[str, Any]]:
        """One row a shard, whether or not anybody owns it."""
        answers = await self._ask_all(Role.WORKER, caller)
        owners = await self._directory.owners(self._node.world, range(self._shard_count))
        names = {member.address: member.name for member, _ in answers}
        rows: dict[int, dict[str, Any]] = {}
        for shard in range(self._shard_count):
            owner = owners.get(shard)
            address = owner.address if owner else ""
            rows[shard] = {
                "shard": shard,
                "owner": names.get(address, address),
                "address": address,
                "epoch": owner.epoch if owner else 0,
                "phase": "unknown" if owner else "vacant",
                "standbys": [],
            }
        for member, seen in answers:
            for shown in seen.get("shards", []):
                row = rows.get(shown["shard"])
                # Two may show it in the moment that it changes hands.
                if row is not None and (row["phase"] in ("unknown", "vacant") or shown["epoch"] >= row["epoch"]):
                    row |= {**shown, "owner": member.name, "address": member.address}
            for shard, lag in seen.get("standbys", {}).items():
                if int(shard) in rows:
                    rows[int(shard)]["standbys"].append({"worker": member.name, "lag_ticks": lag})
        return list(rows.values())

    async def worlds(self, caller: Caller) -> list[dict[str, Any]]:
        """One row a world: the one that this process serves."""
        workers, gateways = await asyncio.gather(
            self._ask_all(Role.WORKER, caller), self._ask_all(Role.GATEWAY, caller)
        )
        flags = await self._directory.flags(self._node.world)
        shards = [shard for _, seen in workers for shard in seen.get("shards", [])]
        first = next((seen for _, seen in [*workers, *gateways] if "title" in seen), {})
        return [
            {
                "world": self._node.world,
                "title": first.get("title", ""),
                "title_version": first.get("title_version", 0),
                "shards": self._shard_count,
                "shards_running": sum(shard["phase"] == "running" for shard in shards),
                "shards_asleep": sum(shard["phase"] in ("asleep", "away") for shard in shards),
                "players": sum(shard["players"] for shard in shards),
                "entities": sum(shard["entities"] for shard in shards),
                "workers": len(workers),
                "gateways": len(gateways),
                "paused": json.loads(flags[PAUSED]) if PAUSED in flags else None,
            }
        ]

    async def players(self, caller: Caller) -> list[dict[str, Any]]:
        """One row a player who is connected, of each gateway the first thousand."""
        rows = []
        for member, seen in await self._ask_all(Role.GATEWAY, caller, "players"):
            rows += [{"gateway": member.name, **player} for player in seen.get("players", [])]
        return rows

    async def balance(self, caller: Caller) -> dict[str, Any]:
        """What there is to balance, and what whoever does it would move. Raises AdminError 503."""
        answers = [(m, seen) for m, seen in await self._ask_all(Role.WORKER, caller, "balance") if "leader" in seen]
        if not answers:
            raise AdminError(503, "no worker answers")
        names = {member.address: member.name for member, _ in answers}
        _, seen = next((pair for pair in answers if pair[1]["leader"] == pair[0].name), answers[0])
        for row in [*seen["plan"], *seen["under_way"]]:
            row |= {key: names.get(row[key], row[key]) for key in ("source", "target")}
        for row in seen["workers"]:
            row["name"] = names.get(row["address"], "")
        return {key: value for key, value in seen.items() if key != "world"}

    # ------------------------------------------------------------ orders

    async def drain(self, caller: Caller, worker: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Empty a worker. Raises AdminError."""
        return await self._order(await self._find(Role.WORKER, worker), "drain", body, caller)

    async def migrate(self, caller: Caller, shard: int, target: str) -> dict[str, Any]:
        """Move a shard to a worker. Raises AdminError: 404 where there is no such shard or worker, 409 where it cannot
        be moved there now.
        """
        if not 0 <= shard < self._shard_count:
            raise AdminError(404, f"there are only shards 0 to {self._shard_count - 1}")
        worker = await self._find(Role.WORKER, target)
        return await self._order(worker, "take", {"shard": shard}, caller, MOVE_TIMEOUT_S)

    async def check(self, caller: Caller, shard: int, body: Mapping[str, Any]) -> dict[str, Any]:
        """What will stand in a shard's cells at a tick to come, as its owner says. Raises AdminError: 404 where there
        is no such shard, 409 where nobody runs it now or the tick is not to come.
        """
        if not 0 <= shard < self._shard_count:
            raise AdminError(404, f"there are only shards 0 to {self._shard_count - 1}")
        owner = (await self._directory.owners(self._node.world, [shard])).get(shard)
        if owner is None:
            raise AdminError(409, f"nobody owns shard {shard}")
        member = await self._find(Role.WORKER, owner.address)
        return await self._order(member, "check", {**body, "shard": shard}, caller, CHECK_TIMEOUT_S)

    async def pause(self, caller: Caller, world: str, paused: bool) -> dict[str, Any]:
        """Let a world stand still, or go on. Raises AdminError 404."""
        if world != self._node.world:
            raise AdminError(404, f"this cluster's world is {self._node.world!r}")
        who = {"by": caller.who, "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        await self._directory.set_flag(world, PAUSED, json.dumps(who) if paused else "")
        return {"world": world, "paused": who if paused else None}

    async def kick(self, caller: Caller, player: int, body: Mapping[str, Any]) -> dict[str, Any]:
        """Close a player's sockets. Raises AdminError 404 where no gateway has one."""
        done = await self._order_all(Role.GATEWAY, "kick", {"player": str(player), **body}, caller)
        sockets = sum(int(answer.get("sockets", 0)) for answer in done.values())
        if not sockets:
            raise AdminError(404, f"player {player} is not connected{_silent(done)}")
        return {"player": str(player), "sockets": sockets, "gateways": done}

    async def broadcast(self, caller: Caller, body: Mapping[str, Any]) -> dict[str, Any]:
        """Tell all players something."""
        done = await self._order_all(Role.GATEWAY, "broadcast", body, caller)
        return {"sockets": sum(int(answer.get("sockets", 0)) for answer in done.values()), "gateways": done}

    # ------------------------------------------------------------ one or all

    async def _members(self, role: Role) -> list[Member]:
        try:
            found = self._directory.workers if role is Role.WORKER else self._directory.gateways
            members = await found(self._now_s())
        except StoreError as error:
            raise AdminError(503, f"the directory does not answer: {error}") from error
        return [member for member in members if member.silent_s < SILENT_S_MAX]

    async def _find(self, role: Role, name: str) -> Member:
        """A process by its name or address. Raises AdminError 404."""
        members = await self._members(role)
        for member in members:
            if name in (member.name, member.address):
                return member
        there = ", ".join(member.name for member in members) or "none"
        raise AdminError(404, f"no {role.value} {name!r} is alive; there are: {there}")

    async def _ask_all(self, role: Role, caller: Caller, view: str = "") -> Answers:
        """What every process of a role that serves this world says of itself; {"error": why} of those that do not."""

        async def one(member: Member) -> dict[str, Any]:
            if member.name == self._node.name and role is self._node.role:
                return self._node.views[view]()
            try:
                return await self._call(member, "GET", view, None, caller, ASK_TIMEOUT_S)
            except AdminError as error:
                return {"error": str(error)}

        members = await self._members(role)
        answers = await asyncio.gather(*(one(member) for member in members))
        pairs = zip(members, answers, strict=True)
        return [(m, seen) for m, seen in pairs if seen.get("world", self._node.world) == self._node.world]

    async def _order_all(
        self, role: Role, action: str, body: Mapping[str, Any], caller: Caller
    ) -> dict[str, dict[str, Any]]:
        """Answers by name; {"error": why} of those that could not, unless none could: then AdminError."""

        async def one(member: Member) -> dict[str, Any] | AdminError:
            try:
                return await self._order(member, action, body, caller)
            except AdminError as error:
                return error

        members = await self._members(role)
        if not members:
            raise AdminError(503, f"there is no {role.value}")
        answers = await asyncio.gather(*(one(member) for member in members))
        failed = [answer for answer in answers if isinstance(answer, AdminError)]
        if len(failed) == len(answers):
            raise failed[0]
        return {
            member.name: {"error": str(answer)} if isinstance(answer, AdminError) else answer
            for member, answer in zip(members, answers, strict=True)
        }

    async def _order(
        self,
        member: Member,
        action: str,
        body: Mapping[str, Any],
        caller: Caller,
        timeout_s: float = ASK_TIMEOUT_S,
    ) -> dict[str, Any]:
        if member.name == self._node.name and member.role is self._node.role:
            return await self._node.actions[action](body)
        return await self._call(member, "POST", action, body, caller, timeout_s)

    async def _call(
        self,
        member: Member,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        caller: Caller,
        timeout_s: float,
    ) -> dict[str, Any]:
        if not member.http:
            raise AdminError(502, f"{member.name} has no internal address that others can reach")
        if self._session is None:
            self._session = aiohttp.ClientSession()
        scope = SCOPES[caller.rank]
        token = self._tokens.issue(f"{caller.who} via {self._node.name}", time.time(), TOKEN_TTL_S, scope)
        url = f"http://{member.http}{PATH}/self" + (f"/{path}" if path else "")
        try:
            async with self._session.request(
                method,
                url,
                json=body,
                headers={"Authorization": f"Bearer {token}"},
                timeout=aiohttp.ClientTimeout(total=timeout_s),
                allow_redirects=False,
            ) as answer:
                said = json.loads(await read_whole(answer, ANSWER_BYTES_MAX))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise AdminError(502, f"{member.name} does not answer: {str(error) or 'timeout'}") from error
        if not isinstance(said, dict):
            raise AdminError(502, f"{member.name} answers with something else")
        if answer.status != 200:
            raise AdminError(answer.status, str(said.get("error", answer.status)))
        return said


def _member_row(member: Member, seen: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": member.name,
        "address": member.address,
        "http": member.http,
        "silent_s": round(member.silent_s, 1),
        "error": seen.get("error", ""),
    }


def _silent(done: Mapping[str, Mapping[str, Any]]) -> str:
    unasked = [name for name, answer in done.items() if "error" in answer]
    return f" (but {', '.join(unasked)} did not answer)" if unasked else ""
