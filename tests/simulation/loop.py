"""An asyncio event loop on a virtual clock, where processes can be paused and killed.

Time stands still while anything is ready to run and jumps to the next timer when nothing is: an hour of play takes
seconds, and one seed always gives the same interleaving. Each simulated process is a context: whatever its tasks
schedule belongs to it, runs not while it is paused and never again once it is killed, as with SIGSTOP and SIGKILL.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import selectors
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_CURRENT: contextvars.ContextVar[Process | None] = contextvars.ContextVar("simulated_process", default=None)


class Deadlock(AssertionError):
    """Nothing is ready and no timer is set: whatever is awaited will never come."""


@dataclass(eq=False)
class Process:
    """One simulated process. `events` counts the callbacks it ran."""

    name: str
    alive: bool = True
    paused: bool = False
    events: int = 0
    held: list[Callable[[], None]] = field(default_factory=list)
    on_kill: list[Callable[[], None]] = field(default_factory=list)

    def run(self, callback: Callable[..., Any], *args: Any) -> Any:
        """Call something as this process."""
        return self.context().run(callback, *args)

    def context(self) -> contextvars.Context:
        """A fresh context that belongs to this process."""
        context = contextvars.copy_context()
        context.run(_CURRENT.set, self)
        return context


def current_process() -> Process | None:
    """The process whose code runs now; None for the driver of the simulation."""
    return _CURRENT.get()


class _VirtualSelector(selectors.BaseSelector):
    """Waits for nothing: the time a real selector would sleep is added to the virtual clock."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._map: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, 0, events, data)
        self._map[fileobj] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._map.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock("nothing is scheduled any more")
        self.now_s += max(0.0, timeout)
        return []

    def get_map(self) -> Any:
        return self._map


class SimulatedLoop(asyncio.SelectorEventLoop):
    """The virtual-time loop. `after_event` is called after every callback: the place for invariant checks."""

    def __init__(self) -> None:
        self._virtual = _VirtualSelector()
        super().__init__(self._virtual)
        self.events = 0
        self.after_event: Callable[[], None] | None = None
        self.tasks: list[asyncio.Task[Any]] = []
        self.over = False
        self._kept: list[asyncio.Task[Any]] = []
        self.set_task_factory(self._keep_task)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._virtual.now_s

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        if self.over:
            # Coroutines that are thrown away still try to wake each other.
            return asyncio.Handle(callback, args, self, context)
        context = contextvars.copy_context() if context is None else context
        return super().call_soon(self._guarded(callback, args, context), context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        if self.over:
            return asyncio.TimerHandle(when, callback, args, self, context)
        context = contextvars.copy_context() if context is None else context
        return super().call_at(when, self._guarded(callback, args, context), context=context)

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Threads would not be deterministic: the work is done here, its result comes with the next turn."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 (whatever it is, it is the awaiting task's)
            future.set_exception(error)
        return future

    def start(self, process: Process, work: Any) -> None:
        """Run a coroutine as a task of a process. An error in it ends the simulation."""
        task = self.create_task(work, context=process.context(), name=process.name)
        self.tasks.append(task)

    def kill(self, process: Process) -> None:
        """SIGKILL: nothing of the process runs again."""
        process.alive = False
        process.held.clear()
        for hook in process.on_kill:
            hook()

    def pause(self, process: Process) -> None:
        """SIGSTOP."""
        process.paused = True

    def resume(self, process: Process) -> None:
        """SIGCONT: what waited runs now, in order."""
        process.paused = False
        held, process.held = process.held, []
        for callback in held:
            super().call_soon(callback)

    def _guarded(self, callback: Any, args: tuple[Any, ...], context: contextvars.Context) -> Callable[[], None]:
        process = context.get(_CURRENT)

        def run() -> None:
            if process is not None:
                if not process.alive:
                    return
                if process.paused:
                    process.held.append(lambda: context.run(run))
                    return
                process.events += 1
            self.events += 1
            callback(*args)
            if self.after_event is not None:
                self.after_event()

        return run

    def _keep_task(self, loop: asyncio.AbstractEventLoop, work: Any, **given: Any) -> asyncio.Task[Any]:
        """A killed process's tasks stay as they are: collected as garbage, they would run their `finally`."""
        task = asyncio.Task(work, loop=loop, **given)
        self._kept.append(task)
        return task

    def end(self) -> None:
        """Nothing runs any more; what was still going on is thrown away without a word."""
        self.over = True
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        self.set_exception_handler(lambda _loop, _context: None)
        self._ready.clear()  # type: ignore[attr-defined]
        self._scheduled.clear()  # type: ignore[attr-defined]
        hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
        self.tasks.clear()
        self._kept.clear()
        gc.collect()
        sys.unraisablehook = hook
        self.close()
