"""What Overworld asks of Redis and of blob storage, as promises.

Every implementation (the real ones and the in-memory twins of `overworld.store.memory`) passes the same tests.

Promises that hold for all of them:

* A call either answers or raises within its time limit. `StoreUnavailable` means that whether the store acted is
  **unknown**: call again with the same arguments. Every call below may be repeated that way without harm.
* Safety never rests on a clock. Times are only ever compared by the reader, on the reader's own monotonic clock.
* Numbers: ticks, epochs and message numbers are below 2**53; a nonce is 16 bytes; a chain is 0 to 64 bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Protocol

READ_RECORDS_MAX = 500
TRIM_STEP_RECORDS = 200
PAYLOAD_BYTES_MAX = 1 << 20
MESSAGE_BYTES_MAX = 1 << 16
MESSAGES_PER_APPEND_MAX = 1024
CHAIN_BYTES_MAX = 64
NONCE_BYTES = 16
NUMBER_MAX = (1 << 53) - 1


class CommitLevel(IntEnum):
    """When a tick's output may be released. Higher is safer and later."""

    L0 = 0
    """At once. The store behaves as at L1; the caller does not wait for the answer before it releases."""
    L1 = 1
    """The append is acknowledged by the Redis primary."""
    L2 = 2
    """L1, and one replica has it (`WAIT`)."""
    L3 = 3
    """L2, and it is synced to disk on both (`WAITAOF`, or servers that run `appendfsync always`)."""


@dataclass(frozen=True, slots=True)
class CommitPolicy:
    """What an append waits for.

    level: see CommitLevel.
    replicas: how many replicas must have the record at L2 and L3 (at L3, 0 asks for this node's disk alone).
    replica_wait_ms_max: how long the WAIT or WAITAOF of one batch may take before its records are sent again. At L3
    with servers that sync once a second (`everysec`) this must be above 2,000, and each tick waits that long.
    fsync_always: at L3, trust that every server runs `appendfsync always` and use WAIT, where WAITAOF is missing.
    """

    level: CommitLevel = CommitLevel.L1
    replicas: int = 1
    replica_wait_ms_max: int = 500
    fsync_always: bool = False


@dataclass(frozen=True, slots=True)
class Head:
    """A shard's ownership record: who owns it, and where its journal ends.

    address is empty where the last owner released the shard in order: a candidate need not wait for silence.
    tick, chain: of the newest record. committed: the highest tick its owner declared committed.
    floor: records up to this tick are gone from the journal. beat: changes while an idle owner lives.
    version: of the title, by its last owner; 0 where that is not known.
    """

    epoch: int
    nonce: bytes
    address: str
    tick: int
    chain: bytes
    committed: int
    floor: int
    beat: int
    version: int = 0

    @property
    def released(self) -> bool:
        return not self.address

    def same_life(self, other: Head | None) -> bool:
        """True where nothing shows that the owner did anything between the two looks."""
        return other is not None and (self.epoch, self.nonce, self.tick, self.beat) == (
            other.epoch,
            other.nonce,
            other.tick,
            other.beat,
        )


@dataclass(frozen=True, slots=True)
class Grant:
    """The right to write a shard's journal, until somebody acquires it at a higher epoch.

    head: as it stood when the shard was acquired, with this grant's epoch, nonce and address in it.
    yielded: the owner before gave it away itself, at the end of its journal and past every epoch that ever claimed the
        shard's snapshots.
    """

    shard: int
    epoch: int
    nonce: bytes
    head: Head
    yielded: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """Somebody else is alive: `head` is not what the candidate saw (None: the record is gone)."""

    head: Head | None


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """A message to another shard. Numbered per (from, to) from 1 without gaps.

    tick: of the sender's record it was written with; 0 in a request, where the request's tick is meant.
    """

    to_shard: int
    number: int
    body: bytes
    tick: int = 0


@dataclass(frozen=True, slots=True)
class AppendRequest:
    """One record and the messages that leave with it: written together or not at all.

    committed: the highest tick this owner knows to have reached its commit level; at most previous_tick.
    """

    previous_tick: int
    previous_chain: bytes
    tick: int
    chain: bytes
    committed: int
    payload: bytes
    outbox: Sequence[OutboxMessage] = ()

    def __post_init__(self) -> None:
        assert self.tick == self.previous_tick + 1, f"tick {self.tick} does not follow {self.previous_tick}"
        assert 0 <= self.committed <= self.previous_tick, f"committed {self.committed} is past {self.previous_tick}"
        assert 0 < len(self.chain) <= CHAIN_BYTES_MAX, f"chain of {len(self.chain)} bytes"
        assert self.chain != self.previous_chain, "the chain must move"
        last: dict[int, int] = {}
        for message in self.outbox:
            number = last.get(message.to_shard, message.number - 1) + 1
            assert message.number == number >= 1, f"message {message.number} to shard {message.to_shard}: gap"
            last[message.to_shard] = number


class Verdict(Enum):
    """The four answers to an append."""

    APPENDED = "appended"
    ALREADY = "already"
    """The same record was there: an earlier try had worked."""
    FENCED = "fenced"
    """Somebody else owns the shard: destroy it, send nothing more of it, do not retry. With epoch 0 in the answer
    nobody does: Redis has lost the shard's head, and its owner may acquire it again and restart the journal."""
    OTHER_HEAD = "other_head"
    """Still the owner, but the journal ends elsewhere. Where (tick, chain) is a record this owner wrote and still
    holds, append again from there (Redis lost its newest records); else this is a dead branch: stop."""


@dataclass(frozen=True, slots=True)
class AppendAnswer:
    """epoch, tick, chain: of the head as the store holds it after the answer."""

    verdict: Verdict
    epoch: int
    tick: int
    chain: bytes

    @property
    def appended(self) -> bool:
        return self.verdict in (Verdict.APPENDED, Verdict.ALREADY)


@dataclass(frozen=True, slots=True)
class JournalEntry:
    tick: int
    epoch: int
    chain: bytes
    payload: bytes


class Ownership(Protocol):
    """Who owns the shards of one world, their journals and their outboxes.

    Several calls for one shard may be in flight; they reach the store in the order they were made.
    """

    @property
    def commit(self) -> CommitPolicy: ...

    @property
    def fill(self) -> Mapping[str, float]:
        """How full its bounded queues are, by name, as parts of their bounds; for telemetry."""

    async def look(self, shard: int) -> Head | None:
        """The head as the primary holds it; None where nobody ever owned the shard (or Redis was wiped)."""

    async def acquire(
        self, shard: int, seen: Head | None, address: str, min_epoch: int, nonce: bytes, version: int = 0
    ) -> Grant | Refused:
        """Take the shard, if its head is still alike what `seen` shows (epoch, nonce, tick, beat).

        The epoch becomes max(the head's, min_epoch) + 1. `nonce` must be fresh random bytes of this attempt.
        `version`: of the title that the owner runs it with.
        The grant holds at the commit level: at L2 a replica knows it.
        """

    async def beat(self, grant: Grant, committed: int | None = None) -> None:
        """Show that the owner lives while it appends nothing; may declare ticks committed. Raises Fenced."""

    async def append(self, grant: Grant, request: AppendRequest) -> AppendAnswer:
        """Write a record and its outbox as one compare-and-swap on (epoch, nonce, tick, chain).

        Returns APPENDED or ALREADY only once the commit level is reached. Raises StoreUnavailable (unknown
        outcome), NotReplicated (on the primary, not yet committed), StoreRefused (nothing written; a retry
        would be refused again), TooBig.
        """

    async def restart(
        self,
        grant: Grant,
        seen_tick: int,
        seen_chain: bytes,
        tick: int,
        chain: bytes,
        outboxes: Iterable[int] = (),
    ) -> None:
        """Drop the journal and let it begin after `tick`: after Redis was wiped, or from a snapshot alone. With
        `outboxes` (receivers), to another past: these outboxes go with it, and so does all that this shard acked.

        A compare-and-swap on (epoch, nonce, seen_tick, seen_chain). Raises Fenced, OtherHead.
        """

    async def release(self, grant: Grant, committed: int | None = None) -> None:
        """Orderly end of ownership: clears the address and keeps the epoch. Raises Fenced."""

    async def read(self, shard: int, after_tick: int, count: int = READ_RECORDS_MAX) -> list[JournalEntry]:
        """Records after_tick + 1 and on, at most `count`, contiguous. Raises JournalGap where one is missing.

        Returns [] where the journal holds nothing newer; whether that is the end is for the head to say.
        """

    async def trim(self, grant: Grant, up_to_tick: int) -> int:
        """Forget records up to a tick, in steps of at most TRIM_STEP_RECORDS. Returns the new floor.

        Raises StoreRefused where up_to_tick is above `committed`; Fenced.
        """

    async def read_outbox(
        self, from_shard: int, to_shard: int, after_number: int, count: int = READ_RECORDS_MAX
    ) -> list[OutboxMessage]:
        """Messages above a number, of ticks that their sender has declared committed, in order."""

    async def ack_outbox(self, grant: Grant, from_shard: int, number: int) -> None:
        """The grant's shard has committed all messages of from_shard up to `number`. Never goes back. Raises Fenced."""

    async def outbox_acks(self, from_shard: int, to_shards: Iterable[int]) -> dict[int, int]:
        """What the receivers acked of from_shard's messages; 0 where nothing."""

    async def trim_outbox(self, grant: Grant, to_shard: int, up_to_number: int) -> None:
        """Forget messages of the grant's shard up to a number, in steps. Raises Fenced."""

    async def put_outbox(self, grant: Grant, to_shard: int, messages: Sequence[OutboxMessage]) -> None:
        """Let an outbox of the grant's shard hold exactly these messages, contiguous, each with its tick: after the
        journal was restarted. The next append goes on after the last; after none, wherever it likes. In steps: cut
        short, call again. Raises Fenced, TooBig.
        """

    async def close(self) -> None: ...


class Role(Enum):
    WORKER = "worker"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class Member:
    """A process as it last announced itself.

    silent_s: for how long this reader has seen no new announcement, by the times it passed to `members`.
    A member seen for the first time has 0: a reader that has just started suspects nobody.
    http: host:port of its internal HTTP port; empty where it has none.
    """

    role: Role
    name: str
    address: str
    load: Mapping[str, float]
    count: int
    silent_s: float
    http: str = ""


@dataclass(frozen=True, slots=True)
class Owner:
    address: str
    epoch: int


class Directory(Protocol):
    """Which processes there are, which of them owns a shard, and what operators have ordered. A hint for routing: never
    relied on for safety.
    """

    async def announce(self, role: Role, name: str, address: str, load: Mapping[str, float], http: str = "") -> None:
        """Say that this process lives. Call about once a second; each call moves the member's count. Raises TooBig."""

    async def withdraw(self, role: Role, name: str) -> None: ...

    async def workers(self, now_s: float) -> list[Member]:
        """All announced workers by name; now_s is the reader's own monotonic clock in seconds."""

    async def gateways(self, now_s: float) -> list[Member]: ...

    async def forget(self, member: Member) -> bool:
        """Remove a dead member, unless it announced itself again since it was read. True where this removed it."""

    async def owners(self, world: str, shards: Iterable[int]) -> dict[int, Owner]:
        """One round trip. Shards nobody owns, or whose owner released them, are left out."""

    async def use_once(self, token_id: str, ttl_s: int) -> bool:
        """True for the first caller, False for every later one within ttl_s seconds."""

    async def lead(self, task: str, name: str, ttl_s: float) -> str:
        """Who does a task that one process does for all: `name` where nobody has said so for ttl_s seconds, or it was
        `name` already, whose time then begins anew. Two may believe it for a moment (a failover, a slow answer): what
        the task does must not mind.
        """

    async def resign(self, task: str, name: str) -> None:
        """`name` does the task no longer; void where it did not."""

    async def set_flag(self, world: str, flag: str, value: str) -> None:
        """What operators order a whole world to do, until it is set to "" again. Raises TooBig."""

    async def flags(self, world: str) -> dict[str, str]:
        """All flags of a world that are set."""

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class BlobLimits:
    """Limits of one store. Beyond them: TooBig, and nothing was sent."""

    blob_bytes_max: int = 256 << 20
    listed_names_max: int = 100_000


class Blobs(Protocol):
    """Named objects. A reader sees an object whole or not at all.

    Names are path-like: segments of letters, digits, dot, dash and underscore, joined by '/'; at most 512 bytes.
    Metadata: at most 16 pairs of short ASCII strings; the key `nonce` is the store's own.
    """

    @property
    def where(self) -> str:
        """For people and logs; holds no secret."""

    async def put_new(self, name: str, data: bytes, metadata: Mapping[str, str] | None = None) -> None:
        """Create an object. Raises AlreadyThere.

        A put whose answer was lost and that is tried again inside recognises its own object and succeeds.
        """

    async def put_if(self, name: str, data: bytes, etag: str | None) -> str:
        """Replace the object that has this ETag (None: create it). Returns the new ETag. Raises Changed."""

    async def get(self, name: str) -> tuple[bytes, str]:
        """(data, ETag). Raises Missing."""

    async def list(self, prefix: str) -> list[str]:
        """Every name that starts with prefix, ascending, over all pages."""

    async def delete(self, name: str) -> None:
        """Deleting what is not there is no error."""

    async def check(self) -> None:
        """Raises StoreUnavailable with one line (which store, where it looked, what to do) unless it can be used."""

    async def close(self) -> None: ...
