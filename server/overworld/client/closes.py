"""What a client does once its socket is gone: the close codes of proto/README.md as data.

Pure: time and chance are arguments.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

NO_CLOSE_CODE = 1006
"""What counts as the code where a socket went without one (RFC 6455 section 7.1.5)."""


CLOSE_CODES_FROM = 1000
"""Numbers below are no close codes: HTTP statuses, or 0."""
HTTP_TOO_MANY = 429


class Next(enum.Enum):
    """What to do after a close."""

    STOP = "stop"
    RESUME = "resume"
    """Connect again and take the same session up."""
    REAUTHORISE = "reauthorise"
    """Get a new token, then as RESUME."""
    FRESH = "fresh"
    """Connect again for a new session: the old one is over."""


class Wait(enum.Enum):
    """When to do it."""

    NONE = "at once"
    """At once the first time; with back-off where it happens again."""
    BACK_OFF = "back-off"
    TOLD = "told"
    """For as long as the close reason says, and never shorter than the back-off."""


RULES: dict[int, tuple[Next, Wait]] = {
    1000: (Next.STOP, Wait.NONE),
    1002: (Next.STOP, Wait.NONE),
    1003: (Next.STOP, Wait.NONE),
    1007: (Next.STOP, Wait.NONE),
    1008: (Next.RESUME, Wait.BACK_OFF),
    1009: (Next.STOP, Wait.NONE),
    1012: (Next.RESUME, Wait.NONE),
    1013: (Next.RESUME, Wait.TOLD),
    4001: (Next.STOP, Wait.NONE),
    4002: (Next.STOP, Wait.NONE),
    4003: (Next.REAUTHORISE, Wait.BACK_OFF),
    4004: (Next.STOP, Wait.NONE),
    4005: (Next.STOP, Wait.NONE),
    4006: (Next.STOP, Wait.NONE),
    4007: (Next.RESUME, Wait.NONE),
    4008: (Next.FRESH, Wait.NONE),
    4009: (Next.RESUME, Wait.BACK_OFF),
    4010: (Next.RESUME, Wait.NONE),
    4011: (Next.RESUME, Wait.BACK_OFF),
    4012: (Next.STOP, Wait.NONE),
}


def rule(code: int) -> tuple[Next, Wait]:
    """The rule for a close code, for the HTTP status that refused the upgrade, or for 0 (no connection at all).

    A lost socket (1006 and other codes of the websocket itself) is resumed. A code of ours that this version does not
    know is a decision about us, so it stops; so does a refused upgrade, except where the server is busy.
    """
    known = RULES.get(code)
    if known is not None:
        return known
    if code >= 4000 or (400 <= code < 500 and code != HTTP_TOO_MANY):
        return Next.STOP, Wait.NONE
    return Next.RESUME, Wait.NONE if code >= 1000 else Wait.BACK_OFF


@dataclass(frozen=True)
class BackOff:
    """Delays that double from `first_s` up to `max_s`. The upper half of each is left to chance, so that clients who
    were lost together do not come back together."""

    first_s: float = 0.25
    max_s: float = 10.0

    def delay_s(self, attempt: int, chance: float) -> float:
        """Seconds before attempt 1, 2, ...; `chance` lies in 0..1."""
        whole = min(self.max_s, self.first_s * 2.0 ** min(attempt - 1, 32))
        return whole * (0.5 + chance / 2)


TOLD_S_MAX = 60.0
_SECONDS = re.compile(r"(\d{1,6}(?:\.\d{1,3})?) ?s")


def told_s(reason: str) -> float:
    """The delay a close reason asks for ("try again in 5 s"), at most TOLD_S_MAX; 0 where it names none."""
    found = _SECONDS.search(reason)
    return min(float(found[1]), TOLD_S_MAX) if found else 0.0


@dataclass(frozen=True)
class Verdict:
    """What to do now, after how many seconds, and the close that led to it."""

    next: Next
    delay_s: float
    code: int
    reason: str
