"""Who sits where, and when rounds begin and end: all arenas at once, by tick."""

from __future__ import annotations

import numpy as np

from overworld.game import Ints, Shard
from overworld.titles.duel.fight import place
from overworld.titles.duel.islands import Islands
from overworld.titles.duel.kinds import OVER, RUNNING, WAITING, Arena, Fighter, Shot

SEATS = 10
ROUND_SECONDS, PAUSE_SECONDS = 60, 5


def seats(shard: Shard, count: int) -> Ints:
    """Arenas for `count` newcomers, int64, fewer where all are taken: arenas fill up one after another."""
    free = SEATS - _crowd(shard)
    taken_first = np.argsort(free, kind="stable")
    return np.repeat(taken_first, free[taken_first])[:count]


def turn_over(shard: Shard, islands: Islands) -> None:
    """End the rounds whose time is up or whose fighters left, and begin new ones where enough wait."""
    arenas, tick, hz = shard[Arena], shard.tick, shard.grid.tick_hz
    enough = _crowd(shard) >= 2
    due = arenas.end_tick <= tick
    ended = np.flatnonzero((arenas.phase == RUNNING) & (due | ~enough))
    rested = np.flatnonzero((arenas.phase == OVER) & due)
    ready = np.flatnonzero((arenas.phase == WAITING) & enough)
    if len(ended):
        _crown(shard, ended)
        arenas.phase[ended] = OVER
        arenas.end_tick[ended] = tick + PAUSE_SECONDS * hz
    if len(rested):
        arenas.phase[rested] = WAITING
    if len(ready):
        arenas.phase[ready] = RUNNING
        arenas.round[ready] = (arenas.round[ready] + 1) & 0xFFFF
        arenas.end_tick[ready] = tick + ROUND_SECONDS * hz
        _line_up(shard, islands, ready)


def _crowd(shard: Shard) -> Ints:
    """Fighters in each arena."""
    return np.bincount(shard[Fighter].arena, minlength=len(shard[Arena]))


def _line_up(shard: Shard, islands: Islands, arenas: Ints) -> None:
    """A new round: no shots, no scores, everybody whole and elsewhere."""
    fighters, shots = shard[Fighter], shard[Shot]
    begins = np.zeros(len(islands), np.bool_)
    begins[arenas] = True
    rows = np.flatnonzero(begins[fighters.arena])
    fighters.score[rows] = 0
    place(shard, islands, rows)
    shots.remove(begins[shots.arena])
    players = shard.player_rows(fighters, rows)
    shard.players.rounds[players[players >= 0]] += 1


def _crown(shard: Shard, ended: Ints) -> None:
    """Name the winners: the highest score above 0, the elder of equals."""
    arenas, fighters = shard[Arena], shard[Fighter]
    arenas.winner[ended] = 0
    rows = np.flatnonzero(np.isin(fighters.arena, ended) & (fighters.score > 0))
    rows = rows[np.lexsort((rows, -fighters.score[rows], fighters.arena[rows]))]
    best = rows[np.diff(fighters.arena[rows], prepend=-1) > 0]
    arenas.winner[fighters.arena[best]] = fighters.ids[best]
    players = shard.player_rows(fighters, best)
    shard.players.wins[players[players >= 0]] += 1
