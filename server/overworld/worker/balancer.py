"""Moves shards so that loads are even: the shell around `balance`, which decides. Every worker runs one; the one that
leads acts. Two that believe they lead do no harm: a shard that is on its way is refused to the second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from overworld import telemetry
from overworld.errors import StoreError
from overworld.settings import WorkerSettings
from overworld.store.ports import Directory
from overworld.worker import tasks
from overworld.worker.balance import Balance, BalanceRules, Floor, Move, ShardState, WorkerState

log = structlog.get_logger(__name__)

LOOK_S = 0.5
LEAD_TTL_S = 3.0

Picture = tuple[list[WorkerState], list[ShardState]]
Migrate = Callable[[int, str], Awaitable[str]]


class Balancer:
    """One worker's part in it. `picture` says what is known now; `migrate` moves a shard to an address, and returns ""
    or why it could not. `task`: what is led, the same on all workers that balance the same shards.
    """

    def __init__(
        self,
        task: str,
        name: str,
        directory: Directory,
        picture: Callable[[], Picture],
        migrate: Migrate,
        rules: BalanceRules,
    ) -> None:
        self._task = task
        self._name = name
        self._directory = directory
        self._picture = picture
        self._migrate = migrate
        self._rules = rules
        self._balance = Balance(rules)
        self._moving: set[asyncio.Task[None]] = set()
        self.leader = ""
        """Who leads, as last heard; empty where that is not known."""

    @property
    def under_way(self) -> list[Move]:
        """Moves it has begun that have not ended."""
        return self._balance.under_way

    @property
    def leads(self) -> bool:
        """True while it is this worker."""
        return self.leader == self._name

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self._lead()
            if self.leads:
                self._look()
            await asyncio.sleep(LOOK_S)

    async def close(self) -> None:
        """Let another worker lead. Moves that are on their way are left to the workers they are between."""
        await tasks.end(list(self._moving))
        if self.leads:
            self.leader = ""
            telemetry.balance_leads.set(0)
            try:
                await self._directory.resign(self._task, self._name)
            except StoreError as error:
                log.debug("resign_failed", reason=str(error))

    async def _lead(self) -> None:
        led = self.leads
        try:
            self.leader = await self._directory.lead(self._task, self._name, LEAD_TTL_S)
        except StoreError as error:
            log.debug("leader_unknown", reason=str(error))
            self.leader = ""
        if self.leads and not led:
            log.info("balances_loads", task=self._task)
            # What an earlier lead remembers is out of date.
            self._balance = Balance(self._rules)
        telemetry.balance_leads.set(self.leads)

    def _look(self) -> None:
        workers, shards = self._picture()
        telemetry.balance_unbalanced.set(unbalanced(workers, shards, self._rules))
        for move in self._balance.look(workers, shards, asyncio.get_running_loop().time()):
            task = asyncio.create_task(self._move(self._balance, move), name=f"balance shard {move.shard}")
            self._moving.add(task)
            task.add_done_callback(self._moving.discard)

    async def _move(self, balance: Balance, move: Move) -> None:
        reason = "it was cut short"
        try:
            reason = await self._migrate(move.shard, move.target)
        finally:
            balance.ended(move, not reason, asyncio.get_running_loop().time())
            telemetry.balance_moves_total.labels("failed" if reason else "moved").inc()
            say = log.warning if reason else log.info
            say("balance_moved", shard=move.shard, source=move.source, target=move.target, reason=reason)


def rules_of(settings: WorkerSettings) -> BalanceRules:
    """As a worker's settings say."""
    return BalanceRules(
        settings.balance_moves_max,
        settings.balance_start_part,
        settings.balance_stop_part,
        settings.balance_settle_s,
        settings.balance_rest_s,
    )


def unbalanced(workers: list[WorkerState], shards: list[ShardState], rules: BalanceRules) -> float:
    """By how much the highest load is above the mean, as a part of it; 0 where there is no load."""
    floor = Floor({w.address: w for w in workers}, {s.shard: s for s in shards}, rules)
    return max(floor.loads.values(), default=0.0) / floor.mean - 1 if floor.mean else 0.0
