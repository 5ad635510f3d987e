"""What only teams may see, dealt out: each viewer gets its own team's pieces of the cells in its view. Pure.

The worker encoded a piece for each (cell, team) that changed. They are joined once for all viewers of a group that are
of one team. A world without teams has none of it: no tick brings anything to deal out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from overworld.gateway.views import Group, Viewer
from overworld.wire.cells import Streams

Ints = npt.NDArray[np.int64]


class Sides:
    """The teams of some groups that see one shard. Good for as long as no group gains or loses a team."""

    def __init__(self, groups: Sequence[Group], shard: int) -> None:
        self._shard = shard
        self._sides = [(group, team) for group in groups for team in group.teams]

    def give(self, teams: Streams, cells: int) -> list[Viewer]:
        """Put a tick's pieces behind what viewers are sent. `cells`: of the world. Returns who has any."""
        given: list[Viewer] = []
        if not self._sides:
            return given
        first_runs, of_run, bounds = self._runs
        cuts = teams.offsets[np.searchsorted(teams.places, bounds + of_run * cells)].reshape(-1, 2)
        sizes = np.add.reduceat(cuts[:, 1] - cuts[:, 0], first_runs[:-1])
        most: dict[Group, int] = {}
        for side in np.flatnonzero(sizes).tolist():
            group, team = self._sides[side]
            runs = cuts[first_runs[side] : first_runs[side + 1]].tolist()
            piece = b"".join([teams.data[begin:end] for begin, end in runs])
            most[group] = max(most.get(group, 0), len(piece))
            for viewer in group.teams[team]:
                viewer.extra += piece
                if viewer.party is not None:
                    viewer.party.owed = max(viewer.party.owed, len(piece))
            given += group.teams[team]
        for group, size in most.items():
            group.bytes += size
        return given

    @cached_property
    def _runs(self) -> tuple[Ints, Ints, Ints]:
        """Where each side's runs begin, int64[sides + 1]; and flat, twice for each run: its team, its bounds."""
        runs = [group.runs[self._shard] for group, _ in self._sides]
        counts = [len(each) for each in runs]
        first_runs = np.concatenate((np.zeros(1, np.int64), np.cumsum(counts))) // 2
        return first_runs, np.repeat([team for _, team in self._sides], counts), np.concatenate(runs)


def piece_of(teams: Streams | None, place: int) -> bytes:
    """The piece of one place; empty where there is none."""
    if teams is None:
        return b""
    at = int(np.searchsorted(teams.places, place))
    if at == len(teams.places) or int(teams.places[at]) != place:
        return b""
    return teams.data[int(teams.offsets[at]) : int(teams.offsets[at + 1])]
