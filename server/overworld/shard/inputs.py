"""What enters and leaves one tick, as plain columns."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def no_ints() -> Ints:
    """int64[0]."""
    return np.zeros(0, np.int64)


class SessionEvent(enum.IntEnum):
    """What happens to a session at a tick."""

    JOIN = 0
    """A new login of the player; ends the player's earlier session."""
    RESUME = 1
    """A new socket of a session that should still be there."""
    LOST = 2
    """The socket is gone; the avatar waits for the grace time."""
    BYE = 3
    """The player left for good."""


@dataclass(frozen=True)
class ShardMessage:
    """A message between shards, numbered per (sender, receiver) pair from 1 without gaps."""

    from_shard: int
    to_shard: int
    number: int
    kind: int
    body: bytes


@dataclass(frozen=True)
class TickInputs:
    """Everything that enters one tick, canonical: replaying it gives the same state. Inputs are sorted by (player,
    seq).

    `events`: (SessionEvent, session, player) in order. Input columns are int64[n]; `values` is int64[sum of counts],
    flat.
    """

    events: tuple[tuple[SessionEvent, int, int], ...] = ()
    sessions: Ints = field(default_factory=no_ints)
    seqs: Ints = field(default_factory=no_ints)
    kinds: Ints = field(default_factory=no_ints)
    seen_ticks: Ints = field(default_factory=no_ints)
    counts: Ints = field(default_factory=no_ints)
    values: Ints = field(default_factory=no_ints)
    messages: tuple[ShardMessage, ...] = ()

    def __len__(self) -> int:
        return len(self.sessions)


@dataclass(frozen=True)
class TickOutcome:
    """What one tick has for single sessions and for other shards. Session columns are int64[n].

    `acks`: (sessions, last input applied); `joined`: (sessions, last input applied before); `views`: (sessions, world
    cell at the centre of their view); `closed`: (sessions, close codes); `owns`: (sessions, piece sizes, ready Frame
    bytes); `moved`: (sessions, shards, numbers), whose player lives in another shard, in which it arrives or arrived
    with the message of that number; `arrived`: (sessions, players) that came with a handover and are online. `alarms`:
    what should never be, for people.
    """

    tick: int
    acks: tuple[Ints, Ints]
    joined: tuple[Ints, Ints]
    views: tuple[Ints, Ints]
    closed: tuple[Ints, Ints]
    owns: tuple[Ints, Ints, bytes]
    outbox: tuple[ShardMessage, ...] = ()
    moved: tuple[Ints, Ints, Ints] = field(default_factory=lambda: (no_ints(), no_ints(), no_ints()))
    arrived: tuple[Ints, Ints] = field(default_factory=lambda: (no_ints(), no_ints()))
    undelivered: int = 0
    """Title messages to entities that are nowhere to be found."""
    alarms: tuple[str, ...] = ()
