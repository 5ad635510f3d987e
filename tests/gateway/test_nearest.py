"""A crowd, a shard's real streams and short budgets: the nearest so many ships are exact at every tick."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.throng import Ship, Throng
from overworld.client.mirror import Mirror
from overworld.game import Interest, contract_of
from overworld.gateway.crowds import Budget
from overworld.gateway.fanout import Fanout
from overworld.gateway.ticks import NO_ACKS, Tick
from overworld.gateway.views import Viewer, Views
from overworld.gateway.welcome import Welcomes
from overworld.settings import GatewaySettings, load
from overworld.shard.core import ShardCore
from overworld.shard.inputs import SessionEvent, TickInputs, TickOutcome

NEAREST = 12
BYTES_PER_S = 7000
SETTLED = 40
"""Ticks until cells are split and clients hold them."""


class ByCount(Throng):
    name = "throng-by-count"
    drones = 390
    interest = Interest(rings=(20, 28, 40, 56), plots=12, nearest=NEAREST)


class ByDistance(ByCount):
    name = "throng-by-distance"
    interest = Interest(rings=(20, 28, 40, 56), plots=12, nearest=0)


class Crowd:
    """Players in one shard, the gateway's fan-out, and what their clients make of it."""

    def __init__(self, title: Throng, players: int, seed: int) -> None:
        self.core = ShardCore(contract_of(title, "w", seed), title, 0)
        self.core.setup()
        self.core.encode()
        contract = self.core.contract
        budget = Budget(contract.grid, contract.interest, BYTES_PER_S)
        self.views = Views(contract.grid, budget)
        self.fanout = Fanout(self.views, budget)
        self.views.found(0)
        self.frames: dict[int, list[bytes]] = {session: [] for session in range(1, players + 1)}
        self.mirrors = {session: Mirror() for session in self.frames}
        self.bytes = dict.fromkeys(self.frames, 0)
        self.asked: list[int] = []
        welcome = Welcomes(contract, load(GatewaySettings)).piece(1, b"r", 0)
        for session, mirror in self.mirrors.items():
            mirror.apply(mirror.parse(welcome))
            self.fanout.viewers[session] = Viewer(session, self._keeper(session), lambda _: None)
        self.events = tuple((SessionEvent.JOIN, session, session) for session in self.frames)

    def _keeper(self, session: int):  # type: ignore[no-untyped-def]
        return lambda frame, offset: self.frames[session].append(bytes(frame[offset:]))

    def run(self) -> None:
        """One tick."""
        core = self.core
        outcome = core.step(TickInputs(events=self.events))
        self.events = ()
        self.fanout.deliver(self._tick(outcome), core.tick / 20)
        self.asked = [cell for _, begin, _ in self.views.take_watches() for cell in begin]
        if core.tick == SETTLED // 2:
            for group in list(self.views.groups(0)):
                self.views.shorten(group)
        for _, split, _, _ in self.views.take_splits():
            core.split(np.array(split, np.int64))
        for session, frames in self.frames.items():
            for frame in frames:
                self.bytes[session] += len(frame) if core.tick > SETTLED else 0
                assert self.mirrors[session].apply(self.mirrors[session].parse(frame))
            frames.clear()

    def _tick(self, outcome: TickOutcome) -> Tick:
        core = self.core
        updates, (sessions, places) = core.encode(), core.focus()
        keys = core.keyframes(np.array(self.asked, np.int64))
        ready = {int(cell): keys.piece(i) for i, cell in enumerate(keys.cells)}
        owned, sizes, data = outcome.owns
        ends = np.cumsum(sizes).tolist()
        owns = [(s, data[end - n : end]) for s, n, end in zip(owned.tolist(), sizes.tolist(), ends, strict=True)]
        views = list(zip(outcome.views[0].tolist(), outcome.views[1].tolist(), strict=True))
        focuses = list(zip(sessions.tolist(), places.tolist(), strict=True))
        keyframes = [(cell, ready.get(cell, b"")) for cell in self.asked]
        return Tick(
            0, 1, core.tick, 0, updates.cells, updates.offsets, updates.data, keyframes, NO_ACKS, views, owns, [], [],
            [], core.streams, focuses, core.populations,
        )  # fmt: skip

    def late(self) -> list[int]:
        """For each client, how many of its nearest ships are not what the server has."""
        ships = self.core.shard[Ship]
        columns = np.stack((ships.at.x, ships.at.y, ships.at.vx, ships.at.vy))
        ids = self.core.shard.tables[0].ids
        found = []
        for mirror in self.mirrors.values():
            told = [mirror.rows(cell, 0) for cell in mirror.cells]
            order = np.argsort(np.concatenate([i for i, _ in told]))
            seen = np.concatenate([c for i, c in told if len(i)], axis=1)[:, order]
            assert mirror.avatar is not None
            own = int(np.searchsorted(ids, mirror.avatar.entity))
            far = ((columns[:2] - columns[:2, own : own + 1]) ** 2).sum(axis=0)
            nearest = np.argsort(far, kind="stable")[: NEAREST + 1]
            found.append(int((seen[:, nearest] != columns[:, nearest]).any(axis=0).sum()))
        return found


@pytest.mark.parametrize("seed", [1, 2])
def test_the_nearest_so_many_are_exact_at_every_tick(seed: int) -> None:
    ticks = 120
    late = {}
    for title in (ByCount(), ByDistance()):
        crowd = Crowd(title, players=8, seed=seed)
        late[title.name] = 0
        for tick in range(SETTLED + ticks):
            crowd.run()
            late[title.name] += sum(crowd.late()) if tick >= SETTLED else 0
        assert crowd.views.short == len(list(crowd.views.groups(0)))
        assert max(crowd.bytes.values()) <= BYTES_PER_S * ticks / 20 * 1.05
        assert max(crowd.bytes.values()) >= BYTES_PER_S * ticks / 20 * 0.7, "there is more to tell than is told"
    assert late["throng-by-count"] == 0
    assert late["throng-by-distance"] > 0
