"""Everything Overworld raises on purpose, as one tree.

OverworldError
+-- SettingsError            a setting is missing or out of range
+-- TitleError               a title's declaration or verb cannot work
+-- WireError                bytes from outside do not follow the protocol (has a close code)
+-- LinkError                the stream between a gateway and a worker broke a rule
+-- ClientStopped            a client's session is over and will not be taken up again (has a close code)
+-- DivergenceError          a replay disagrees with the journal's digest
+-- AdminError               what an operator asked for cannot be done (has an HTTP status)
+-- StoreError
    +-- StoreUnavailable     Redis or blob storage did not answer; whether it acted is unknown
    |   +-- NotReplicated    written, but the commit level was not reached in time
    +-- StoreRefused         the store understood and refused; nothing was written
    |   +-- TooBig           over a stated limit
    +-- FormatTooNew         written by a newer version than this one
    +-- Fenced               somebody else owns this now
    +-- OtherHead            the journal's head is not the one expected
    +-- AlreadyThere         an object of that name exists
    +-- Changed              the object changed since it was read
    +-- Missing              no such object
    +-- NotKept              a tick, a time or a state that is asked for is kept nowhere
    +-- Corrupt
        +-- SnapshotCorrupt
        +-- ManifestCorrupt
        +-- RecordCorrupt
        +-- JournalGap       a record that should be there is not
"""

from __future__ import annotations


class OverworldError(Exception):
    """Root of the tree."""


class SettingsError(OverworldError):
    """A setting is missing or out of range."""


class TitleError(OverworldError):
    """A title's declaration or verb cannot work."""


class WireError(OverworldError):
    """Bytes from outside do not follow the protocol."""

    def __init__(self, close_code: int, reason: str) -> None:
        super().__init__(f"{close_code} {reason}")
        self.close_code = close_code
        self.reason = reason


class LinkError(OverworldError):
    """The stream between a gateway and a worker broke a rule."""


class AdminError(OverworldError):
    """What an operator asked for cannot be done."""

    def __init__(self, status: int, reason: str) -> None:
        """`status`: of the HTTP answer."""
        super().__init__(reason)
        self.status = status


class ClientStopped(OverworldError):
    """A client's session is over and will not be taken up again."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}".rstrip())
        self.code = code
        self.reason = reason


class DivergenceError(OverworldError):
    """A replay disagrees with the journal's digest."""


class StoreError(OverworldError):
    """Something about Redis or blob storage."""


class StoreUnavailable(StoreError):
    """Redis or blob storage did not answer in time."""


class NotReplicated(StoreUnavailable):
    """Written on the primary, but the commit level (replicas, disk) was not reached in time."""


class StoreRefused(StoreError):
    """The store understood and refused; nothing was written. Not worth a retry."""


class TooBig(StoreRefused):
    """Over a stated limit; nothing was sent."""


class FormatTooNew(StoreError):
    """Written by a newer version of Overworld than this one."""


class Fenced(StoreError):
    """Somebody else owns this now."""


class OtherHead(StoreError):
    """The journal's head is not the one expected."""


class AlreadyThere(StoreError):
    """An object of that name exists."""


class Changed(StoreError):
    """The object changed since it was read."""


class Missing(StoreError):
    """No such object."""


class NotKept(StoreError):
    """A tick, a time or a state that is asked for is kept nowhere."""


class Corrupt(StoreError):
    """Stored bytes are not what was written."""


class SnapshotCorrupt(Corrupt):
    """A snapshot is torn, flipped or not this shard's."""


class ManifestCorrupt(Corrupt):
    """The list of a shard's snapshots is torn, flipped or not this shard's."""


class RecordCorrupt(Corrupt):
    """A journal record is torn, flipped or out of its chain."""


class JournalGap(Corrupt):
    """A journal record that should be there is not."""
