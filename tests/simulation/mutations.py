"""Rules of the product, broken on purpose: a checker that finds none of these would find nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from overworld.gateway.fanout import Fanout
from overworld.gateway.players import Players
from overworld.shard.inputs import SessionEvent
from overworld.shard.sessions import Sessions
from overworld.store.memory_node import MemoryNode
from overworld.store.ports import AppendRequest
from overworld.worker.journal import Journal
from overworld.worker.pulse import Pulse
from overworld.worker.shard_loop import ShardLoop


@contextmanager
def skip_epoch_check() -> Iterator[None]:
    """Nobody minds the epoch of a tick's results: the worker that stood still sends them, the gateway passes them on.

    The store's own check is left alone: with the epoch skipped there, the hash chain still refuses a second owner.
    """
    output = Players._output

    def careless_output(self: Players, link: Any, tick: Any) -> None:
        with patch.object(self.routing, "link_of", lambda _shard: link):
            output(self, link, tick)

    with (
        patch.object(Pulse, "trusts", lambda *_: True),
        patch.object(Fanout, "newer", lambda *_: True),
        patch.object(Players, "_output", careless_output),
    ):
        yield


@contextmanager
def release_before_append() -> Iterator[None]:
    """Results leave the worker as soon as they are computed."""
    begin = Journal.__init__

    def hasty(self: Journal, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        self._at_once = True

    with patch.object(Journal, "__init__", hasty):
        yield


@contextmanager
def trim_too_far() -> Iterator[None]:
    """The journal is trimmed to its committed end, whatever snapshots there are."""
    trim = MemoryNode.trim_step

    def greedy(self: MemoryNode, key: Any, grant: Any, up_to_tick: int) -> int:
        head = self.head(key)
        return trim(self, key, grant, up_to_tick if head is None else max(up_to_tick, head.committed))

    with patch.object(MemoryNode, "trim_step", greedy):
        yield


@contextmanager
def forget_applied_inputs() -> Iterator[None]:
    """A session that is taken up again begins to count its inputs anew."""
    join = Sessions._join

    def forgetful(self: Sessions, row: int, session: int, code: SessionEvent, *rest: Any) -> None:
        if code is SessionEvent.RESUME:
            self._shard.players.last_seq[row] = 0
        join(self, row, session, code, *rest)

    with patch.object(Sessions, "_join", forgetful):
        yield


@contextmanager
def mail_before_append() -> Iterator[None]:
    """Messages to other shards leave as soon as they are sent: an entity arrives that its shard still has, if that
    shard dies before its record is stored.
    """
    hold = ShardLoop._hold_mail

    def hasty(self: ShardLoop, *args: Any) -> None:
        hold(self, *args)
        self.release_mail(self._core.tick)

    with patch.object(ShardLoop, "_hold_mail", hasty):
        yield


@contextmanager
def no_outbox() -> Iterator[None]:
    """Messages are sent, but not stored with the record that sent them: one that is lost on its way is lost."""
    append = MemoryNode.append

    def forgetful(self: MemoryNode, key: Any, grant: Any, request: AppendRequest) -> Any:
        return append(self, key, grant, replace(request, outbox=()))

    with patch.object(MemoryNode, "append", forgetful):
        yield


MUTATIONS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "skip_epoch_check": skip_epoch_check,
    "release_before_append": release_before_append,
    "trim_too_far": trim_too_far,
    "forget_applied_inputs": forget_applied_inputs,
    "mail_before_append": mail_before_append,
    "no_outbox": no_outbox,
}
