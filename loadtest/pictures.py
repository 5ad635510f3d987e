"""How true a client's picture is where it is not told everything: row by row, against the replay of the journal.

A row must be the server's at this tick, or what the client had at the tick before, moved on by one step: so it is
always what the server had at the row's last record. How long ago that was is its age.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from loadtest.history import BotHistory, Event
from loadtest.truth import Truth
from overworld.client.mirror import Mirror

Ints = npt.NDArray[np.int64]

EXAMPLES_MAX = 5


@dataclass
class Pictures:
    """What was found. `ages_ticks`: the oldest row of each picture; `rows_behind`: the part of its rows that are not
    exact.
    """

    frames: int = 0
    rows: int = 0
    wrong_rows: int = 0
    wrong_ids: int = 0
    nearest: int = 0
    nearest_behind: int = 0
    ages_ticks: list[int] = field(default_factory=list)
    rows_behind: list[float] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)

    def tell(self, text: str) -> None:
        """Keep an example of what went wrong."""
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(text)


def check_pictures(
    histories: Iterable[BotHistory], truth: Truth, kind: int, near: int, from_us: int, until_us: int
) -> Pictures:
    """Play histories of one shard's only kind that moves back, and look at what came between two times. `near`: how
    many of the nearest must be exact at every tick.
    """
    result = Pictures()
    for history in histories:
        _check_bot(history, truth, kind, near, from_us, until_us, result)
    return result


def _check_bot(
    history: BotHistory, truth: Truth, kind: int, near: int, from_us: int, until_us: int, result: Pictures
) -> None:
    mirror = Mirror()
    before: tuple[Ints, Ints] | None = None
    exact_at: dict[int, int] = {}
    for entry in history.of(Event.FRAME):
        frame = mirror.parse(entry.body)
        if not mirror.apply(frame) or not frame.heads or entry.time_us > until_us:
            continue
        tick = frame.heads[0].tick
        now = _rows(mirror, kind)
        if entry.time_us < from_us or before is None or tick not in truth.ticks:
            before = now
            note(exact_at, now, _truth(truth, tick, kind), tick) if tick in truth.ticks else None
            continue
        ids, columns = now
        wanted = _truth(truth, tick, kind)
        result.frames += 1
        result.rows += len(ids)
        if not np.array_equal(ids, wanted[0]):
            result.wrong_ids += 1
            result.tell(f"bot {history.bot}, tick {tick}: {len(ids)} ships, the server has {len(wanted[0])}")
            before = now
            continue
        exact = note(exact_at, now, wanted, tick)
        behind = np.flatnonzero(~exact)
        at = np.minimum(np.searchsorted(before[0], ids[behind]), len(before[0]) - 1)
        moved = before[1][:, at].copy()
        moved[:2] += moved[2:4]
        wrong = (before[0][at] != ids[behind]) | (moved != columns[:, behind]).any(axis=0)
        result.wrong_rows += int(wrong.sum())
        for row in behind[wrong][:1].tolist():
            told = f"{columns[:, row].tolist()}, the server has {wanted[1][:, row].tolist()}"
            result.tell(f"bot {history.bot}, tick {tick}, ship {ids[row]}: {told}")
        result.ages_ticks.append(max((tick - exact_at[i] for i in ids[behind].tolist()), default=0))
        result.rows_behind.append(len(behind) / max(1, len(ids)))
        own = int(np.searchsorted(ids, mirror.avatar.entity)) if mirror.avatar is not None else 0
        apart = wanted[1][:2] - wanted[1][:2, own : own + 1]
        far = (apart * apart).sum(axis=0)
        nearest = np.argsort(far, kind="stable")[: near + 1]
        result.nearest += len(nearest)
        result.nearest_behind += int((~exact[nearest]).sum())
        before = now


def _rows(mirror: Mirror, kind: int) -> tuple[Ints, Ints]:
    """Ids, ascending, and columns of everything in view."""
    found = [mirror.rows(cell, kind) for cell in mirror.cells]
    ids = np.concatenate([i for i, _ in found]) if found else np.zeros(0, np.int64)
    order = np.argsort(ids, kind="stable")
    columns = [c for i, c in found if len(i)]
    return ids[order], np.concatenate(columns, axis=1)[:, order] if columns else np.zeros((0, 0), np.int64)


def _truth(truth: Truth, tick: int, kind: int) -> tuple[Ints, Ints]:
    rows = truth.ticks[tick][kind]
    return rows[:, 1], rows[:, 3:].T


def note(
    exact_at: dict[int, int], seen: tuple[Ints, Ints], wanted: tuple[Ints, Ints], tick: int
) -> npt.NDArray[np.bool_]:
    """Which rows are exact, bool[rows]; remembered with the tick. One that never was counts from its first tick on."""
    for row in seen[0].tolist():
        exact_at.setdefault(row, tick)
    if not np.array_equal(seen[0], wanted[0]):
        return np.zeros(len(seen[0]), np.bool_)
    exact: npt.NDArray[np.bool_] = (seen[1] == wanted[1]).all(axis=0)
    exact_at.update(dict.fromkeys(seen[0][exact].tolist(), tick))
    return exact
