"""Runs bots until a signal or the end of their time, in this process or in several. `overworld bots` calls `run`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

import structlog

from overworld.client.swarm import BotOptions, BotReport, play

log = structlog.get_logger(__name__)

_POLL_S = 0.5
_LAST_WORDS_S = 15.0
"""How long children may take to leave the game and report."""
_ENDED_S = 5.0


def run(options: BotOptions) -> BotReport:
    """Play until SIGINT, SIGTERM or the end of `options.duration_s`; then all bots leave in order.

    Call from the main thread, outside of an event loop (inside of one, `await swarm.play` instead).
    """
    if options.processes > 1:
        return _run_processes(options)
    with _fewer_collections(), asyncio.Runner(loop_factory=_fast_loop()) as runner:
        return runner.run(_play_until_signal(options))


def shares(options: BotOptions) -> list[BotOptions]:
    """The options cut into one share for each process: bots keep their numbers, and so their chance."""
    each, over = divmod(options.count, options.processes)
    counts = [each + (i < over) for i in range(options.processes)]
    return [
        replace(options, first=options.first + sum(counts[:i]), count=count) for i, count in enumerate(counts) if count
    ]


async def _play_until_signal(options: BotOptions) -> BotReport:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        return await play(options, stop)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    # Not on Windows, where the default loop has to do.
    with contextlib.suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop
    return None


@contextlib.contextmanager
def _fewer_collections() -> Iterator[None]:
    """A mirror's rows are many small lists that never form cycles: to look through them again and again frees nothing.
    Real cycles (sockets, tasks) are rare, so they may wait."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


# ---------------------------------------------------------------- several processes


def _run_processes(options: BotOptions) -> BotReport:
    context = multiprocessing.get_context("spawn")
    children: list[tuple[SpawnProcess, Connection]] = []
    stopping = [False]

    def stop(*_: Any) -> None:
        stopping[0] = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for share in shares(options):
            ours, theirs = context.Pipe()
            child = context.Process(target=_child, args=(share, theirs), name=f"bots-{share.first}")
            child.start()
            theirs.close()
            children.append((child, ours))
        return _collect(children, stopping)
    finally:
        for child, pipe in children:
            pipe.close()
            child.join(_ENDED_S)
            if child.is_alive():
                child.kill()
                child.join(_ENDED_S)
        for number, handler in before.items():
            signal.signal(number, handler)


def _collect(children: list[tuple[SpawnProcess, Connection]], stopping: list[bool]) -> BotReport:
    """Wait for every child's report; tell them to stop when told so. A child that dies is reported as that."""
    total = BotReport()
    waiting = {pipe: child for child, pipe in children}
    deadline: float | None = None
    while waiting:
        if stopping[0] and deadline is None:
            deadline = time.monotonic() + _LAST_WORDS_S
            for pipe in waiting:
                with contextlib.suppress(OSError):
                    pipe.send_bytes(b"stop")
        if deadline is not None and time.monotonic() > deadline:
            total.stopped["process did not report"] += len(waiting)
            break
        for ready in wait(list(waiting), _POLL_S):
            assert isinstance(ready, Connection)
            child = waiting.pop(ready)
            try:
                total.add(BotReport.from_plain(json.loads(ready.recv_bytes())))
            except (EOFError, OSError):
                log.error("bots_process_died", process=child.name)
                total.stopped["process died"] += 1
    return total


def _child(options: BotOptions, pipe: Connection) -> None:
    """One process's share. It stops on SIGTERM, on its parent's word, and without a parent; Ctrl-C is the parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with _fewer_collections(), asyncio.Runner(loop_factory=_fast_loop()) as runner:
        report = runner.run(_play_until_told(options, pipe))
    with contextlib.suppress(OSError):
        pipe.send_bytes(json.dumps(report.to_plain()).encode())


async def _play_until_told(options: BotOptions, pipe: Connection) -> BotReport:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)

    def told() -> None:
        loop.remove_reader(pipe.fileno())
        stop.set()

    loop.add_reader(pipe.fileno(), told)
    try:
        return await play(options, stop)
    finally:
        loop.remove_reader(pipe.fileno())
