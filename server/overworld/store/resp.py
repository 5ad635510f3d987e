"""Redis commands as bytes, and what an error reply means for whoever sent the command."""

from __future__ import annotations

from enum import Enum

from redis import exceptions


def pack(*parts: bytes) -> bytes:
    """One command in the Redis serialisation protocol: `*<parts>` then `$<length>` and the bytes of each part."""
    out = [b"*%d\r\n" % len(parts)]
    for part in parts:
        out.append(b"$%d\r\n" % len(part))
        out.append(part)
        out.append(b"\r\n")
    return b"".join(out)


class Trouble(Enum):
    """What to do about a reply that is not an answer. But for UNCONFIRMED the command did nothing."""

    UNKNOWN_SCRIPT = "unknown_script"
    """The server does not hold the script (restarted, flushed, promoted): send its source at once."""
    MOVED = "moved"
    """Another node of the cluster has the key now: ask for the slots again and send it there."""
    LATER = "later"
    """The same node may take it later: full, loading, busy, a slot on its way, too few replicas."""
    UNCONFIRMED = "unconfirmed"
    """Written, but the commit level was not reached in the time of one WAIT: ask again, the time has been spent."""
    RECONNECT = "reconnect"
    """This connection leads to the wrong place or lost its rights: connect anew."""
    REFUSED = "refused"
    """The same bytes will be refused every time."""


_LATER_PREFIXES = ("MISCONF", "NOREPLICAS", "BUSY", "LOADING", "OOM", "TRYAGAIN", "CLUSTERDOWN", "NOTREADY")
_RECONNECT_PREFIXES = ("READONLY", "UNBLOCKED", "NOAUTH", "WRONGPASS")


def trouble_of(error: exceptions.RedisError) -> Trouble:
    """Sort an error reply. Which replies exist is a matter of server version, so unknown ones count as refused."""
    if isinstance(error, exceptions.NoScriptError):
        return Trouble.UNKNOWN_SCRIPT
    if isinstance(error, exceptions.MovedError):  # a kind of AskError in redis-py, so it is looked at first
        return Trouble.MOVED
    # An ASK (the slot is on its way) is waited out: half of a shard's keys may be on either side until it ends.
    if isinstance(error, exceptions.AskError):
        return Trouble.LATER
    if isinstance(error, (exceptions.ReadOnlyError, exceptions.AuthenticationError)):
        return Trouble.RECONNECT
    if isinstance(error, (exceptions.OutOfMemoryError, exceptions.TryAgainError, exceptions.ClusterDownError)):
        return Trouble.LATER
    text = str(error)
    if text.startswith(_LATER_PREFIXES):
        return Trouble.LATER
    if text.startswith(_RECONNECT_PREFIXES):
        return Trouble.RECONNECT
    return Trouble.REFUSED
