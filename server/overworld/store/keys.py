"""Every Redis key, in one place.

    {world/shard}:own         HASH    epoch nonce addr tick chain beat committed floor, and ack:<from shard>
    {world/shard}:jrnl        STREAM  id = tick-0, fields e(poch) c(hain) p(ayload)
    {world/shard}:out:<to>    STREAM  id = number-tick, field b(ody)
    {overworld}:<role>s       HASH    member name -> JSON (address, load)
    {overworld}:<role>s:count HASH    member name -> how often it announced itself
    {overworld}:used:<token>  STRING  with a time to live
    {overworld}:lead:<task>   STRING  with a time to live: the name of the member that does the task
    {overworld}:flags:<world> HASH   flag -> value, as operators set them

All keys of a shard share the hash tag {world/shard}, so that every script touches one slot of a cluster. None of them
has a time to live: a key that expires forgets its epoch, and an evicting Redis would take it.

An outbox id is number-tick (not tick-index): both grow together, so a reader finds "after number n" by range and still
sees which tick each message belongs to.
"""

from __future__ import annotations

import re

from overworld.errors import SettingsError
from overworld.store.ports import Role

_WORLD = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def check_world(world: str) -> str:
    """Returns the name. Raises SettingsError unless it can stand in a key and in an object's name."""
    if not _WORLD.fullmatch(world):
        raise SettingsError(f"world name {world!r}: use 1 to 63 of a-z, 0-9, '-' and '_', a letter or digit first")
    return world


def own(world: str, shard: int) -> str:
    return f"{{{world}/{shard}}}:own"


def journal(world: str, shard: int) -> str:
    return f"{{{world}/{shard}}}:jrnl"


def outbox(world: str, from_shard: int, to_shard: int) -> str:
    return f"{{{world}/{from_shard}}}:out:{to_shard}"


def ack_field(from_shard: int) -> str:
    return f"ack:{from_shard}"


def members(role: Role) -> str:
    return f"{{overworld}}:{role.value}s"


def member_counts(role: Role) -> str:
    return f"{{overworld}}:{role.value}s:count"


def lead(task: str) -> str:
    return f"{{overworld}}:lead:{task}"


def flags(world: str) -> str:
    return f"{{overworld}}:flags:{world}"


def used_token(token_id: str) -> str:
    return f"{{overworld}}:used:{token_id}"
