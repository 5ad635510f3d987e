"""Spans of what happens rarely: sessions, joins, moves, takeovers, snapshots, admin calls. Never one a tick, an input
or a frame. Nobody keeps them as a rule; `overworld.commands.traces` hands them to OpenTelemetry where
`OVERWORLD_TRACES` says so, and only then is anything of that imported.

Spans of one session, or of one shard under one epoch, are one trace, whichever process they come from: its id is made
from theirs. So no message of the link or of the client protocol carries a trace context, and there is none to lose.

Spans are told when they are over, with how long they took: nothing has to be kept open across awaits.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Span:
    """Something that is over. Times in ns since 1970."""

    name: str
    of: str
    """What the trace is about; empty: it is a trace of its own."""
    whole: bool
    """Whether it spans what the trace is about: the others of the trace are parts of it."""
    began_ns: int
    ended_ns: int
    error: str
    about: Mapping[str, Value]


class Sink(Protocol):
    """Who keeps spans."""

    def take(self, span: Span) -> None:
        """Never waits, and never raises."""


class Spans:
    """Where the code tells what happened. Without a sink it costs a call."""

    def __init__(self) -> None:
        self.sink: Sink | None = None

    def tell(
        self, name: str, of: str, seconds: float, about: Mapping[str, Value], *, whole: bool = False, error: str = ""
    ) -> None:
        """Something is over now, and took this long."""
        if self.sink is None:
            return
        ended_ns = time.time_ns()
        self.sink.take(Span(name, of, whole, ended_ns - int(seconds * 1e9), ended_ns, error, about))

    @contextlib.contextmanager
    def timed(self, name: str, of: str, about: Mapping[str, Value]) -> Iterator[None]:
        """Tell of what is done within, and of the error that ends it. Cancelled: nothing is told."""
        began_s = time.monotonic()
        try:
            yield
        except Exception as error:
            self.tell(name, of, time.monotonic() - began_s, about, error=repr(error)[:200])
            raise
        self.tell(name, of, time.monotonic() - began_s, about)


def of_session(session: int) -> str:
    """The trace of a session, over all its sockets."""
    return f"session {session}"


def of_shard(shard: int, epoch: int) -> str:
    """The trace of a shard with one owner."""
    return f"shard {shard} {epoch}"


spans = Spans()
"""Of this process, as metrics are: what is told of in a hundred places has no owner to be handed on by."""
