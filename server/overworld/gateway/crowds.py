"""What viewers get whose budget does not cover all they see: the nearest first, everything else in its turn.

A group whose updates exceed its viewers' budget is *short*: its cells are split (`world.interest`), and its viewers are
told apart by the plot they look from, as `Party`s. A party's frame is what came and left, everywhere, and the floor,
everywhere; then pieces of plots' streams, nearest first, while tokens last. All of it are bytes that the worker encoded
once for everybody; a party shares its join. Which of a plot's streams a party reads follows from the distance (the
title's rings), and from how many rows stand how near: plots that may hold one of the nearest are *sure*, read at every
tick, on credit where tokens do not last. A party remembers of which plots it has been told everything; what becomes
sure and is not among them is told as a whole, once. Where tokens keep running out, the rings shrink together, and grow
again when there is room. Times are arguments, in seconds, monotonic. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from overworld import telemetry
from overworld.gateway.outlook import Census, outlook_from, wishes
from overworld.wire.cells import Streams
from overworld.world.grid import Grid
from overworld.world.interest import Interest, Places, Populations, periods

Ints = npt.NDArray[np.int64]
Ints32 = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]

SHARED_PART = 31 / 32
"""Of the budget, for what is shared; the rest is for viewers' own pieces."""
TOKENS_TICKS_MAX = 1.25
DEBT_S_MAX = 0.25
STEPS_MAX = 8
"""How often rings shrink at most, each time by a factor of the square root of 2."""
STEP_TICKS = 20
"""Ticks between two looks at whether rings should shrink or grow."""
RIM_PLOTS = 64
"""Of so many plots beyond those read at every tick a party remembers what it knows, for reach and rings flicker."""
TIGHT_TICKS, LOOSE_TICKS, LOOSE_PART = 5, 18, 0.6
"""Rings shrink where tokens did not last in more of those ticks; they grow where wishes took less than this part of
the tokens in as many.
"""
SHORT_ABOVE, SHORT_BELOW = 0.9, 0.6
"""A group becomes short above this part of the budget, and is no longer below that one."""


_NONE: Ints = np.zeros(0, np.int64)


class Watcher(Protocol):
    """A viewer, as far as a party needs to know it."""

    slot: int
    extra: bytes
    send: Callable[[bytearray, int], None]


@dataclass(frozen=True)
class Budget:
    """What all viewers of a gateway may get, and how a world is told to those who want more. `bytes_per_s` 0: no
    bound.
    """

    grid: Grid
    interest: Interest
    bytes_per_s: int

    @property
    def shared_bytes_per_s(self) -> float:
        """For what viewers share."""
        return self.bytes_per_s * SHARED_PART

    @property
    def tokens_max(self) -> float:
        """Bytes that may be saved up."""
        return self.shared_bytes_per_s * TOKENS_TICKS_MAX / self.grid.tick_hz


class Party:
    """Viewers of a short group who look from one plot: they get the same bytes."""

    __slots__ = (
        "_budget",
        "_center",
        "_known",
        "_loose",
        "_outlook",
        "_ticks",
        "_tight",
        "_whole",
        "_wishes",
        "filled_s",
        "focus",
        "step",
        "tokens",
        "viewers",
    )

    def __init__(self, budget: Budget, center: int, focus: int) -> None:
        self._budget = budget
        self._center = center
        self.focus = focus
        """Place (cell * plots of a cell + plot)."""
        self.viewers: dict[Watcher, None] = {}
        self.tokens = 0.0
        self.filled_s = -1.0
        self.step = 0
        """How often the rings have shrunk."""
        self._ticks = self._tight = self._loose = 0
        places = Places(budget.grid, budget.interest)
        self._whole = places.whole * places.of_level
        self._outlook = outlook_from(budget.grid, budget.interest.plots, center, focus)
        self._wishes = self._wish()
        self._known = {shard: np.zeros(len(plots.places), np.bool_) for shard, plots in self._outlook.by_shard.items()}
        """Of which plots, nearest first, its viewers have been told everything up to now."""

    def inherit(self, other: Party) -> None:
        """A viewer comes from another party: with what that one had left, at most, and knowing what that one knew."""
        first = not self.viewers
        if first:
            self.tokens, self.filled_s, self.step = other.tokens, other.filled_s, other.step
            self._wishes = self._wish()
        self.tokens = min(self.tokens, other.tokens)
        for shard, known in self._known.items():
            theirs = other._known.get(shard)
            if theirs is None:
                known[:] = False
                continue
            knows = np.isin(self._outlook.by_shard[shard].places, other._outlook.by_shard[shard].places[theirs])
            known[:] = knows if first else known & knows

    def _wish(self) -> dict[int, tuple[Ints, int]]:
        budget = self._budget
        return wishes(budget.grid, budget.interest, self._center, self.focus, self.step)

    def fill(self, now_s: float) -> None:
        """Time has passed."""
        budget = self._budget
        if self.filled_s < 0:
            self.tokens = budget.tokens_max
        else:
            gained = (now_s - self.filled_s) * budget.shared_bytes_per_s
            self.tokens = min(budget.tokens_max, self.tokens + gained)
        self.filled_s = now_s

    def pay(self, size: int) -> None:
        """So many bytes were sent."""
        self.tokens = max(self.tokens - size, -DEBT_S_MAX * self._budget.shared_bytes_per_s)

    def choose(self, shard: int, lanes: Lanes, census: Census, allowed: float) -> Ints:
        """The pieces of a tick that this party gets, nearest first, int64[n]: those its rings wish for, while `allowed`
        bytes last. What is sure comes on credit, too.
        """
        if shard not in self._wishes:
            return _NONE
        ringed, inner = self._wishes[shard]
        plots, known = self._outlook.by_shard[shard], self._known[shard]
        sure = int(plots.nearest.searchsorted(self._reach(census), side="right"))
        always = max(sure, inner)
        wished = np.concatenate((plots.places[:always], ringed[always:]))
        wished[:always][~known[:always]] += self._whole
        at = lanes.find(wished)
        found = at.nonzero()[0]
        pieces: Ints = at[found].astype(np.int64) - 1
        total = lanes.sizes[pieces].cumsum()
        credit = allowed + DEBT_S_MAX * self._budget.shared_bytes_per_s
        fit, fit_sure = total.searchsorted((allowed, credit), side="right").tolist()
        taken = max(fit, min(fit_sure, int(found.searchsorted(sure))))
        # Where there was nothing to tell, everything is known.
        known[:always] = True
        rim = always + RIM_PLOTS
        known[always:rim] &= lanes.find(plots.places[always:rim]) == 0
        known[rim:] = False
        known[found[taken:]] = False
        self._learn(float(total[-1]) if len(total) else 0.0, allowed)
        return pieces[:taken]

    def _reach(self, census: Census) -> float:
        """Whatever may lie nearer is sure, in cells."""
        interest = self._budget.interest
        always = interest.sure / self._budget.grid.cell
        # A viewer's own avatar is the nearest of all.
        return max(always, self._outlook.reach(census, interest.nearest + 1)) if interest.nearest else always

    def _learn(self, wished: float, allowed: float) -> None:
        self._ticks += 1
        self._tight += wished > allowed
        self._loose += wished < allowed * LOOSE_PART
        if self._ticks < STEP_TICKS:
            return
        step = self.step
        if self._tight > TIGHT_TICKS:
            step = min(STEPS_MAX, step + 1)
        elif self._loose >= LOOSE_TICKS:
            step = max(0, step - 1)
        if step != self.step:
            self.step = step
            self._wishes = self._wish()
        self._ticks = self._tight = self._loose = 0


class Lanes:
    """One tick's streams as the groups of a shard see them: the pieces of each run of cells are one slice of a
    level.
    """

    def __init__(self, streams: Streams, bounds: Ints, places: Places, table: Ints32) -> None:
        """`table`: for each place the number of its piece plus 1, 0 where it has none."""
        self.streams = streams
        self.sizes = np.diff(streams.offsets)
        """Bytes of each piece, int64[n]."""
        self._table = table
        self._every = self._slices(bounds * places.of_cell + places.wide * places.of_level)
        self._floor = self._slices(bounds * places.of_cell + places.floor * places.of_level)

    def find(self, wished: Ints) -> Ints32:
        """The numbers of places' pieces plus 1, 0 where there is none, int32[n]."""
        return self._table[wished]

    def _slices(self, bounds: Ints) -> list[bytes]:
        cuts = self.streams.offsets[np.searchsorted(self.streams.places, bounds)].tolist()
        data = self.streams.data
        return [data[begin:end] for begin, end in zip(cuts[::2], cuts[1::2], strict=True)]

    def every(self, at: int, runs: int) -> bytes:
        """Everything that changed in the cells of these runs this tick."""
        return b"".join(self._every[at : at + runs])

    def floor(self, at: int, runs: int) -> bytes:
        """Rows whose turn it is in the cells of these runs."""
        return b"".join(self._floor[at : at + runs])

    def join(self, pieces: Ints) -> bytes:
        """The bytes of some pieces."""
        begins, ends = self.streams.offsets[pieces].tolist(), self.streams.offsets[pieces + 1].tolist()
        data = self.streams.data
        return b"".join([data[begin:end] for begin, end in zip(begins, ends, strict=True)])


class Crowds:
    """What short viewers get beside what all of their group do; and the counts of it, told once a tick."""

    def __init__(self, budget: Budget) -> None:
        self.places = Places(budget.grid, budget.interest)
        self._periods = periods(budget.grid.tick_hz)
        self._census = Census(self.places)
        self._table: Ints32 | None = None
        self._pieces: list[Ints] = []
        self._over = self._held_back = 0

    def count_rows(self, shard: int, told: Populations | None) -> None:
        """How many rows stand in the plots of a shard's split cells from now on; None where it does not say."""
        if told is not None and not self._census.take(shard, told.cells, told.rows):
            telemetry.gateway_dropped_total.labels("stream_place").inc()

    def lanes(self, streams: Streams | None, bounds: Ints) -> Lanes | None:
        """A tick's streams for groups with these runs. `count` must follow."""
        if streams is None:
            return None
        if int(streams.places[-1]) >= self.places.end:
            telemetry.gateway_dropped_total.labels("stream_place").inc()
            return None
        if self._table is None:
            # Memory that nobody writes to is not there: what is used of it are the plots of crowded cells.
            self._table = np.zeros(self.places.end, np.int32)
        self._table[streams.places] = np.arange(1, len(streams.places) + 1, dtype=np.int32)
        return Lanes(streams, bounds, self.places, self._table)

    def boosts(self, party: Party, shard: int, lanes: Lanes | None, shared: int, every: int, now_s: float) -> bytes:
        """What a party gets beside the `shared` bytes of its group, of which there would be `every` for a long enough
        budget.
        """
        party.fill(now_s)
        if lanes is None:
            party.pay(shared)
            return b""
        allowed = party.tokens - shared
        pieces = party.choose(shard, lanes, self._census, allowed)
        chosen = lanes.join(pieces)
        party.pay(shared + len(chosen))
        viewers = len(party.viewers)
        self._over += viewers * (len(chosen) > allowed)
        self._held_back += max(0, every - len(chosen)) * viewers
        self._pieces.append(pieces)
        return chosen

    def count(self, lanes: Lanes | None) -> None:
        """The tick is done."""
        telemetry.gateway_over_budget_total.inc(self._over)
        telemetry.gateway_held_back_bytes.inc(self._held_back)
        if lanes is not None and self._pieces:
            levels = lanes.streams.places[np.concatenate(self._pieces)] // self.places.of_level
            counts = np.bincount(levels, minlength=self.places.wide).tolist()
            for ticks, count in zip((*self._periods[:-1], "whole"), counts, strict=True):
                telemetry.gateway_stream_pieces_total.labels(ticks).inc(count)
        if lanes is not None and self._table is not None:
            self._table[lanes.streams.places] = 0
        self._over = self._held_back = 0
        self._pieces = []


def hand_out(frame: bytearray, offset: int, viewers: Iterable[Watcher]) -> int:
    """Send a frame to viewers, each with what is its own behind it. Returns the bytes of all those own pieces."""
    shared = len(frame)
    own = 0
    for viewer in viewers:
        if viewer.extra:
            frame += viewer.extra
            viewer.extra = b""
            own += len(frame) - shared
            viewer.send(frame, offset)
            del frame[shared:]
        else:
            viewer.send(frame, offset)
    return own
