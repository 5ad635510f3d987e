"""Which avatar each bot had: the last one of a life before a stop, the first one after it."""

from __future__ import annotations

from collections.abc import Iterable

from loadtest.history import BotHistory, Event
from overworld.client.mirror import LightMirror


def first_avatars(histories: Iterable[BotHistory]) -> dict[int, int]:
    """Entity id of the first avatar that each bot was told of, by bot."""
    found: dict[int, int] = {}
    for history in histories:
        for entity in _told(history):
            found.setdefault(history.bot, entity)
            break
    return found


def last_avatars(histories: Iterable[BotHistory]) -> dict[int, int]:
    """Entity id of the last avatar that each bot was told of, by bot."""
    found: dict[int, int] = {}
    for history in histories:
        for entity in _told(history):
            found[history.bot] = entity
    return found


def _told(history: BotHistory) -> Iterable[int]:
    light = LightMirror()
    for entry in history.of(Event.FRAME):
        for own in light.parse(entry.body).owns:
            if own.entity:
                yield int(own.entity)
