"""The roles of whoever calls the admin API."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Rank(IntEnum):
    """Each may what those before it may. A reader looks; an operator moves, drains, kicks and tells; an administrator
    lets a world stand still.
    """

    NOBODY = 0
    READER = 1
    OPERATOR = 2
    ADMINISTRATOR = 3


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and as what."""

    who: str
    rank: Rank
