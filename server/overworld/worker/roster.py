"""Who else runs shards of this world, as their announcements say. Pure.

Workers of another version of the title are told apart: those of this version share, follow and balance shards with us;
those of a newer one are where our shards go when we stop; while there are older ones, what they left is theirs to take.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from overworld.store.ports import Member
from overworld.worker.load import DRAINING, EMPTIED

TITLE_VERSION = "title_version"
SILENT_S_MAX = 3.0
"""A worker that has not announced itself for this long is not counted when shards are shared out."""


@dataclass(frozen=True)
class Roster:
    """Live workers. `same`: of this version, whatever they do. Addresses of those that take shards: `live` of this
    version (ours among them), `newer`; `older`: there are such of an older version. `others`: everybody else's address.
    """

    same: tuple[Member, ...] = ()
    live: tuple[str, ...] = ()
    newer: tuple[str, ...] = ()
    older: bool = False
    others: frozenset[str] = frozenset()


def roster_of(members: Iterable[Member], version: float, address: str) -> Roster:
    """What the announcements come to for the worker at `address`, which runs `version` of the title. Who says nothing
    of a version is taken to be of ours.
    """

    def version_of(member: Member) -> float:
        return member.load.get(TITLE_VERSION, version)

    live = [m for m in members if m.silent_s < SILENT_S_MAX]
    takers = [m for m in live if not (m.load.get(DRAINING) or m.load.get(EMPTIED))]
    return Roster(
        same=tuple(m for m in live if version_of(m) == version),
        live=tuple(m.address for m in takers if version_of(m) == version),
        newer=tuple(m.address for m in takers if version_of(m) > version),
        older=any(version_of(m) < version for m in takers),
        others=frozenset(m.address for m in live) - {address},
    )
