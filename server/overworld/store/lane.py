"""One dedicated Redis connection that carries many shards' commands in batches.

    submit -> queue (bounded) -> batch = [command x k, WAIT?] -> replies -> callers' futures
                                 the next batch gathers while one is on its way

Why not pipelines of the ordinary client: `WAIT` must share one connection with what it waits for, and one `WAIT` for
each append on a shared connection collapses under load; here a batch shares one.

A broken connection leaves the outcome of its batch unknown: the lane connects anew and sends the same bytes again, with
growing pauses, until each command's deadline. Every command sent here must therefore be one that may be repeated.

Order: the commands of one key are sent one after the other, each only after the answer to the one before (so at most
one a batch). A command that is tried again keeps its place before later ones of its key.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from overworld import telemetry
from overworld.errors import NotReplicated, StoreRefused, StoreUnavailable
from overworld.store.resp import Trouble, pack, trouble_of
from overworld.store.scripts import Script

log = structlog.get_logger(__name__)

SWEEP_INTERVAL_S = 0.25
PAUSE_S_MIN = 0.02
PAUSE_S_MAX = 0.2


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """Bounds of one lane. A command that does not fit is refused at once with StoreUnavailable."""

    queue_commands_max: int = 4096
    queue_bytes_max: int = 64 << 20
    batch_commands_max: int = 256
    batch_bytes_max: int = 4 << 20
    connect_s_max: float = 1.0
    answer_s_max: float = 1.0
    """For all replies of a batch, on top of what its WAIT may take."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What is asked after each batch (WAIT or WAITAOF), and how to judge the reply.

    asks_more_max: 0 to ask once, in the same packet as the batch. Otherwise the question goes out after the replies,
    and again up to so many times.
    """

    command: bytes
    time_s_max: float
    describe: str
    reached: Callable[[Any], bool]
    asks_more_max: int = 0


class Command:
    """One script call on its way. key: what orders it, and the slot it belongs to."""

    __slots__ = ("_source", "data", "deadline_s", "future", "key", "name", "trouble", "unconfirmed")

    def __init__(
        self, script: Script, keys: list[bytes], args: list[bytes], future: asyncio.Future[Any], deadline_s: float
    ) -> None:
        self.name = script.name
        self.key = keys[0]
        self.data = pack(b"EVALSHA", script.sha, b"%d" % len(keys), *keys, *args)
        self._source = (script, keys, args)
        self.future = future
        self.deadline_s = deadline_s
        self.trouble = "no answer yet"
        self.unconfirmed = False

    def send_source(self) -> None:
        script, keys, args = self._source
        self.data = pack(b"EVAL", script.source, b"%d" % len(keys), *keys, *args)

    def give_up(self, where: str) -> None:
        if self.future.done():
            return
        text = f"Redis at {where}: {self.name} of {self.key.decode()}: {self.trouble}"
        self.future.set_exception(NotReplicated(text) if self.unconfirmed else StoreUnavailable(text))


Connect = Callable[[], AbstractConnection]
Relocate = Callable[["Lane", bool], Awaitable[None]]


class Lane:
    """See the module's text. Starts its task with the first command; `close` ends it."""

    def __init__(
        self,
        where: str,
        connect: Connect,
        confirmation: Confirmation | None,
        limits: LaneLimits,
        relocate: Relocate,
    ) -> None:
        """relocate(lane, moved) is called when commands may belong to another node (cluster); see GroupCommit."""
        self.where = where
        self._make_connection = connect
        self._confirmation = confirmation
        self._limits = limits
        self._relocate = relocate
        self._queue: deque[Command] = deque()
        self._queue_bytes = 0
        self._in_flight: list[Command] = []
        self._connection: AbstractConnection | None = None
        self._work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._sweep_handle: asyncio.TimerHandle | None = None
        self._failures = 0

    # ------------------------------------------------------------ what callers use

    @property
    def fill(self) -> tuple[float, float]:
        """How full the queue is of commands and of bytes, as parts of their bounds."""
        return len(self._queue) / self._limits.queue_commands_max, self._queue_bytes / self._limits.queue_bytes_max

    def submit(self, command: Command) -> None:
        """Queue a command; its future gets the answer. Raises StoreUnavailable where the queue is full."""
        if (
            len(self._queue) >= self._limits.queue_commands_max
            or self._queue_bytes + len(command.data) > self._limits.queue_bytes_max
        ):
            telemetry.journal_refused_total.labels("queue_full").inc()
            raise StoreUnavailable(f"Redis at {self.where}: {len(self._queue)} commands are waiting already")
        self._queue.append(command)
        self._queue_bytes += len(command.data)
        self._work.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"redis lane {self.where}")
        if self._sweep_handle is None:
            self._sweep_handle = asyncio.get_running_loop().call_later(SWEEP_INTERVAL_S, self._sweep)

    def take_queued(self) -> list[Command]:
        """Hand over everything that is not on its way, in order (the commands' node has changed)."""
        commands = list(self._queue)
        self._queue.clear()
        self._queue_bytes = 0
        return commands

    async def close(self) -> None:
        if self._sweep_handle is not None:
            self._sweep_handle.cancel()
            self._sweep_handle = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._disconnect()
        for command in [*self._in_flight, *self._queue]:
            command.trouble = "closed"
            command.give_up(self.where)
        self._in_flight = []
        self._queue.clear()
        self._queue_bytes = 0

    # ------------------------------------------------------------ the loop

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            batch = self._gather()
            if not batch:
                self._work.clear()
                continue
            self._in_flight = batch
            worst = await self._exchange(batch)
            again = [command for command in self._in_flight if not command.future.done()]
            self._in_flight = []
            for command in reversed(again):
                self._queue.appendleft(command)
                self._queue_bytes += len(command.data)
            if worst is None:
                self._failures = 0
            else:
                await self._recover(worst)

    def _gather(self) -> list[Command]:
        """Take the next batch off the queue: at most one command a key, none that nobody waits for any more."""
        limits = self._limits
        batch: list[Command] = []
        later: list[Command] = []
        keys: set[bytes] = set()
        size = 0
        while self._queue and len(batch) < limits.batch_commands_max and len(later) < limits.batch_commands_max:
            command = self._queue[0]
            if batch and size + len(command.data) > limits.batch_bytes_max:
                break
            self._queue.popleft()
            if command.future.done():
                self._queue_bytes -= len(command.data)
            elif command.key in keys:
                later.append(command)
            else:
                keys.add(command.key)
                batch.append(command)
                size += len(command.data)
        self._queue.extendleft(reversed(later))
        self._queue_bytes -= size
        return batch

    async def _exchange(self, batch: list[Command]) -> Trouble | None:
        """Send one batch and settle what was answered. Returns why some of it must be tried again."""
        confirmation = self._confirmation
        answer_s_max = self._limits.answer_s_max + (confirmation.time_s_max if confirmation else 0.0)
        try:
            connection = await self._connected()
            async with asyncio.timeout(answer_s_max):
                data = b"".join([command.data for command in batch])
                if confirmation is not None and not confirmation.asks_more_max:
                    data += confirmation.command
                await connection.send_packed_command(data, False)
                telemetry.journal_batch_commands.observe(len(batch))
                if confirmation is None:
                    return await self._settle_each(connection, batch)
                return await self._settle_confirmed(connection, batch, confirmation)
        except (RedisError, OSError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            for command in batch:
                command.trouble = reason
                command.unconfirmed = False
            telemetry.journal_retries_total.labels("connection").inc(len(batch))
            if self._failures == 0:
                log.warning("redis_lane_broken", where=self.where, commands=len(batch), reason=reason)
            await self._disconnect()
            return Trouble.RECONNECT

    async def _settle_each(self, connection: AbstractConnection, batch: list[Command]) -> Trouble | None:
        worst: Trouble | None = None
        for command in batch:
            worst = self._settle(command, await _reply(connection)) or worst
        return worst

    async def _settle_confirmed(
        self, connection: AbstractConnection, batch: list[Command], confirmation: Confirmation
    ) -> Trouble | None:
        replies = [await _reply(connection) for _ in batch]
        confirmed = None if confirmation.asks_more_max else await _reply(connection)
        reached = _reached(confirmation, confirmed)
        for _ in range(confirmation.asks_more_max):
            if reached or isinstance(confirmed, ResponseError):
                break
            await connection.send_packed_command(confirmation.command, False)
            confirmed = await _reply(connection)
            reached = _reached(confirmation, confirmed)
        worst: Trouble | None = None
        for command, reply in zip(batch, replies, strict=True):
            wrote = isinstance(reply, list) and reply and isinstance(reply[0], int) and reply[0] > 0
            if wrote and not reached:
                command.unconfirmed = True
                command.trouble = f"written, but {confirmation.describe} answered {confirmed}"
                telemetry.journal_retries_total.labels(Trouble.UNCONFIRMED.value).inc()
                worst = worst or Trouble.UNCONFIRMED
            else:
                worst = self._settle(command, reply) or worst
        return worst

    def _settle(self, command: Command, reply: Any) -> Trouble | None:
        """Give the caller its answer, or say why the command has to be tried again."""
        if command.future.done():
            return None
        if not isinstance(reply, ResponseError):
            command.future.set_result(reply)
            return None
        trouble = trouble_of(reply)
        command.trouble = str(reply)
        command.unconfirmed = False
        if trouble is Trouble.REFUSED:
            command.future.set_exception(StoreRefused(f"Redis at {self.where}: {command.name}: {reply}"))
            return None
        telemetry.journal_retries_total.labels(trouble.value).inc()
        if trouble is Trouble.UNKNOWN_SCRIPT:
            command.send_source()
        return trouble

    async def _recover(self, worst: Trouble) -> None:
        """Pause between tries; connect elsewhere where that helps."""
        if worst is Trouble.UNKNOWN_SCRIPT:
            return
        if worst is Trouble.RECONNECT:
            await self._disconnect()
        if worst is Trouble.UNCONFIRMED:
            await asyncio.sleep(PAUSE_S_MIN)
            return
        self._failures += 1
        pause_s = min(PAUSE_S_MAX, PAUSE_S_MIN * 2 ** min(self._failures - 1, 10))
        if worst is not Trouble.MOVED or self._failures > 1:
            await asyncio.sleep(pause_s)
        if worst in (Trouble.MOVED, Trouble.RECONNECT):
            await self._relocate(self, worst is Trouble.MOVED)

    # ------------------------------------------------------------ connection and deadlines

    async def _connected(self) -> AbstractConnection:
        if self._connection is None:
            connection = self._make_connection()
            try:
                async with asyncio.timeout(self._limits.connect_s_max):
                    await connection.connect()  # type: ignore[no-untyped-call]
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
            self._connection = connection
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    def _sweep(self) -> None:
        """Give up what is past its deadline, whatever the loop is waiting for. Accurate to SWEEP_INTERVAL_S."""
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        for command in [*self._in_flight, *self._queue]:
            if command.deadline_s <= now_s:
                command.give_up(self.where)
        waiting = bool(self._in_flight or self._queue)
        self._sweep_handle = loop.call_later(SWEEP_INTERVAL_S, self._sweep) if waiting else None


def _reached(confirmation: Confirmation, confirmed: Any) -> bool:
    return confirmed is not None and not isinstance(confirmed, ResponseError) and confirmation.reached(confirmed)


async def _reply(connection: AbstractConnection) -> Any:
    """The next reply, an error reply as a value. Other errors (connection, protocol) are raised."""
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error
