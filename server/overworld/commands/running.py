"""Runs one service until it is told to stop.

first SIGTERM or SIGINT, or the end of standard input where asked for    stop in order
a second one                                                             stop at once
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

log = structlog.get_logger(__name__)

EXIT_IN_ORDER, EXIT_INCOMPLETE, EXIT_AT_ONCE = 0, 3, 4


class Service(Protocol):
    """Something that runs until it is stopped."""

    async def start(self) -> None:
        """Raises OverworldError where it cannot."""

    async def stop(self) -> bool:
        """In order. False where time ran out."""

    async def kill(self) -> None:
        """At once."""


def run(main: Callable[[], Awaitable[int]]) -> int:
    """Run a coroutine on the fast loop. Returns its result, the exit code."""

    async def entry() -> int:
        return await main()

    with asyncio.Runner(loop_factory=_fast_loop()) as runner:
        return runner.run(entry())


async def until_stopped(service: Service, *, follow_stdin: bool = False) -> int:
    """Start the service, wait for a signal, stop it. Returns the exit code."""
    signals = _Signals()
    if follow_stdin:
        terminate_when_stdin_closes()
    try:
        await service.start()
        # What is alive now lives until the end: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        await signals.first.wait()
        log.info("stopping", because=signals.why)
        stopping = asyncio.ensure_future(service.stop())
        hurrying = asyncio.ensure_future(signals.second.wait())
        await asyncio.wait([stopping, hurrying], return_when=asyncio.FIRST_COMPLETED)
        hurrying.cancel()
        if stopping.done():
            return EXIT_IN_ORDER if stopping.result() else EXIT_INCOMPLETE
        log.warning("stopping_at_once", because=signals.why)
        stopping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await stopping
        await service.kill()
        return EXIT_AT_ONCE
    finally:
        signals.close()


class _Signals:
    """SIGTERM and SIGINT, counted."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.first, self.second = asyncio.Event(), asyncio.Event()
        self.why = ""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.tell, number.name)

    def tell(self, why: str) -> None:
        self.why = why
        (self.second if self.first.is_set() else self.first).set()

    def close(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.remove_signal_handler(number)


def terminate_when_stdin_closes() -> None:
    """As SIGTERM, once whoever started us is gone: for commands that handle signals by themselves."""

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(sys.stdin.fileno(), 4096):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="stdin", daemon=True).start()


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    # Not on Windows, where the default loop has to do.
    with contextlib.suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop
    return None
