"""Inputs that claim to have seen a tick which nobody has been told of: of one session. Pure.

What a player saw, this gateway sent: so a tick above the newest one of the player's shard was not seen there. But
shards number their ticks by themselves, and who has just crossed still counts as the shard he came from until the frame
that tells of it is with him, however long that takes. And the word that a player moved may be later here than the
frames that show it. Hence two times, and nothing said before:

* What a shard that was left less than `PAST_S` ago has told is no lie. A session that was taken up again may come from
  anywhere, so it is believed for as long. `PAST_S` is longer than an input can wait on its way: a silent socket is
  closed and a lost one's session is over before.
* A claim to a tick that some other shard had told is doubted for `SETTLED_S`. If the player turns out to have moved to
  that shard, it was true. What no shard had told is a lie at once.

The price: who crosses or resumes may lie for a minute up to what the other shard has told. It gains him nothing: how
far back and how far ahead a title looks is bounded all the same (`Shard.seen`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from overworld.wire.v1.link_pb2 import InputBatch

PAST_S = 60.0
SETTLED_S = 10.0
_LEFT_MAX = 8
"""Shards remembered; who is in more within a minute flies along borders, and the oldest is forgotten."""
_DOUBTS_MAX = 64
"""Claims doubted at a time. More come only from who lies all the time: the oldest are then not counted."""

Told = Mapping[int, tuple[int, int]]
"""The newest (epoch, tick) that shards have told this gateway."""


class Foresight:
    """See the module. Times are monotonic, seconds."""

    __slots__ = ("_believed_s", "_doubts", "_left", "_lies")

    def __init__(self) -> None:
        self._left: dict[int, float] = {}
        self._doubts: deque[tuple[float, frozenset[int]]] = deque(maxlen=_DOUBTS_MAX)
        """When, and which shards had told of such a tick."""
        self._believed_s = 0.0
        self._lies = 0

    def resumed(self, now_s: float) -> None:
        """The session was taken up again: where it was before is not known here."""
        self._believed_s = now_s + PAST_S

    def moved(self, from_shard: int, to_shard: int, now_s: float) -> None:
        """The player lives in another shard."""
        self._left.pop(from_shard, None)
        self._left[from_shard] = now_s
        if len(self._left) > _LEFT_MAX:
            del self._left[next(iter(self._left))]
        self._doubts = deque((doubt for doubt in self._doubts if to_shard not in doubt[1]), _DOUBTS_MAX)

    def ahead(self, seen_tick: int, told: Told, now_s: float) -> None:
        """An input claims a tick above the newest one of the player's shard."""
        if now_s < self._believed_s:
            return
        true_in = frozenset(shard for shard, (_, tick) in told.items() if seen_tick <= tick)
        if not true_in:
            self._lies += 1
        elif not any(shard in true_in and now_s - left_s < PAST_S for shard, left_s in self._left.items()):
            self._doubts.append((now_s, true_in))

    @property
    def pending(self) -> bool:
        """Whether `settled` has or will have something to say."""
        return bool(self._lies or self._doubts)

    def settled(self, now_s: float) -> int:
        """How many claims have turned out to be lies since the last time."""
        lies, self._lies = self._lies, 0
        while self._doubts and now_s - self._doubts[0][0] >= SETTLED_S:
            self._doubts.popleft()
            lies += 1
        return lies


class Claimant(Protocol):
    """Who holds a session."""

    @property
    def session(self) -> Claiming:
        """The session."""


class Claiming(Protocol):
    """A session."""

    foresight: Foresight


def judge_batch(batch: InputBatch, told: Told, holders: Mapping[int, Claimant], now_s: float) -> None:
    """As `ahead`, for the inputs in a message to a shard's worker; `holders` by session."""
    newest = told.get(batch.shard)
    seen = np.frombuffer(batch.seen_ticks_u32, "<u4")
    if newest is None or not len(seen) or int(seen.max()) <= newest[1]:
        return
    sessions = np.frombuffer(batch.sessions_i64, "<i8")
    for i in np.flatnonzero(seen > newest[1]).tolist():
        holder = holders.get(int(sessions[i]))
        if holder is not None:
            holder.session.foresight.ahead(int(seen[i]), told, now_s)
