"""Which tick of which branch an operator means by a tick or a time."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from overworld.errors import NotKept, SettingsError
from overworld.worker.history import CURRENT, History, Track

THEN = "then"
_TICK = re.compile(r"\d{1,15}")


@dataclass(frozen=True)
class Moment:
    """A tick (of each shard), or a time: then `tick` is None. Milliseconds since 1970."""

    tick: int | None = None
    wall_ms: int = 0

    def __str__(self) -> str:
        return iso(self.wall_ms) if self.tick is None else f"tick {self.tick}"


@dataclass(frozen=True)
class Place:
    """A tick of a track. `wall_ms`: when it ran; 0 for tick 0, which never did."""

    track: Track
    tick: int
    wall_ms: int


def parse(text: str) -> Moment:
    """'1200' is a tick; '2026-07-29T10:00:00Z' a time, UTC where it names no zone. Raises SettingsError."""
    if _TICK.fullmatch(text):
        return Moment(tick=int(text))
    try:
        when = dt.datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"{text!r} is neither a tick nor a time like 2026-07-29T10:00:00Z") from None
    if when.tzinfo is None:
        when = when.replace(tzinfo=dt.UTC)
    return Moment(wall_ms=int(when.timestamp() * 1000))


def iso(wall_ms: int) -> str:
    """'2026-07-29T10:00:00.050Z'."""
    return dt.datetime.fromtimestamp(wall_ms / 1000, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def find(history: History, moment: Moment, branch: str = "") -> Place:
    """The tick that is meant: that one, or the newest that ran at or before the time. Of the current branch unless
    another is named; a tick that only one other branch has is taken from there. THEN names the branch that the world
    was on at the time.

    Raises NotKept: it is kept nowhere, or the world was on another branch at that time and none was named.
    """
    if moment.tick is not None:
        if branch == THEN:
            raise SettingsError(f"--branch {THEN} needs a time, not {moment}")
        await history.look_near(tick=moment.tick)
        return await _at_tick(history, moment.tick, branch)
    await history.look_near(wall_ms=moment.wall_ms)
    place = await _at_time(history, moment, branch)
    if place is None:
        # The newest state before that time was of another branch, and of a later tick.
        await history.look()
        place = await _at_time(history, moment, branch)
    if place is None:
        text = f"branch {history.named(branch).name} has" if branch not in ("", THEN) else "there is"
        raise NotKept(f"shard {history.shard}: {text} no tick at or before {moment}")
    return place


async def _at_time(history: History, moment: Moment, branch: str) -> Place | None:
    track = history.current if branch in ("", THEN) else history.named(branch)
    found = await history.tick_at(track, moment.wall_ms)
    if found is None or branch not in ("", THEN):
        return Place(track, *found) if found is not None else None
    then = await _then(history, Place(track, *found), moment)
    if not branch and then.track is not track:
        raise NotKept(
            f"shard {history.shard}: at {moment} the world was on branch {then.track.name}, at tick {then.tick}, which "
            f"was given up; say --branch {THEN} for it, or --branch {CURRENT} for {track.name}, then at tick {found[0]}"
        )
    return then


async def _then(history: History, current: Place, moment: Moment) -> Place:
    """Where the world was at a time: on the current branch, or on one that was given up later."""
    newest = current
    for other in history.tracks:
        there = await history.tick_at(other, moment.wall_ms) if not other.current else None
        if there is not None and there[1] > newest.wall_ms and there[0] > await history.fork(other, current.track):
            newest = Place(other, *there)
    return newest


async def _at_tick(history: History, tick: int, branch: str) -> Place:
    having = _having(history, tick, branch)
    if not having:
        # Further back than we looked, or nowhere.
        await history.look()
        having = _having(history, tick, branch)
    if not having:
        tracks = [history.named(branch)] if branch else history.tracks
        kept = ", ".join(f"{track.name} has {track.after_tick + 1} to {track.tick}" for track in tracks)
        raise NotKept(f"shard {history.shard}: no branch has tick {tick}; {kept}")
    track = having[0]
    if not track.current and len(having) > 1:
        names = ", ".join(track.name for track in having)
        raise NotKept(f"shard {history.shard}: several branches have tick {tick}: say which ({names})")
    if tick == track.after_tick:
        # Its record is before a gap (or there is none): when the state was taken has to do.
        wall_ms = next((state.wall_ms for state in history.states if state.tick == tick), 0)
        return Place(track, tick, wall_ms)
    return Place(track, tick, await history.wall_ms(track, tick))


def _having(history: History, tick: int, branch: str) -> list[Track]:
    tracks = [history.named(branch)] if branch else history.tracks
    return [track for track in tracks if track.after_tick <= tick <= track.tick]
