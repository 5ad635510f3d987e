"""A world of squads with real shards, a gateway's fan-out and clients, and what clients may know of squads.

Every value that only a squad may see is unique, and says which squad it is of in bytes that are found in a frame
whatever stands around them. So what reaches a socket is judged by the bytes, not by what a client makes of them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import ClassVar, cast

import numpy as np

from overworld.client.mirror import Mirror
from overworld.game import (
    OWNER,
    SERVER,
    TEAM,
    Entity,
    Grid,
    Inputs,
    Int32,
    Interest,
    Ints,
    Motion,
    Shard,
    Title,
    UInt8,
)
from overworld.gateway.crowds import Budget
from overworld.gateway.fanout import Fanout
from overworld.gateway.lane import Lane
from overworld.gateway.ticks import decode
from overworld.gateway.views import Viewer, Views
from overworld.gateway.welcome import Welcomes
from overworld.settings import GatewaySettings, load
from overworld.shard import snapshot
from overworld.shard.core import ShardCore
from overworld.shard.inputs import SessionEvent, no_ints
from overworld.wire import varint
from overworld.wire.v1.link_pb2 import LinkMessage
from overworld.worker.publisher import Crowding, TickStamp, Watches, outputs
from overworld.worker.routes import Routes
from tests.shard.test_borders import World

LINK = "gateway"
SQUADS = 3
REFUSED = np.zeros((2, 0), np.int64)
SECRET_BYTES = 5
JOIN, RESUME = SessionEvent.JOIN, SessionEvent.RESUME


class Soldier(Entity):
    team: ClassVar[str] = "squad"

    at = Motion()
    hp = UInt8(default=100)
    squad = UInt8(audience=SERVER)
    orders = Int32(audience=OWNER)
    supply = Int32(audience=TEAM)
    aim = Int32(audience=TEAM)


class Flag(Entity):
    """Does not move, has nobody's orders; its team is a column that everybody sees."""

    team = UInt8()
    held = Int32(audience=TEAM)


class Rock(Entity):
    at = Motion()


class Raid(Title):
    """Soldiers walk straight on, over borders, and bounce off the world's walls. What else happens, tests do."""

    name, version = "raid", 1
    world = Grid(width=128, height=128, cell=16, shards=(2, 2), view=24)
    entities: ClassVar[tuple[type[Entity], ...]] = (Rock, Soldier, Flag)
    interest = Interest(plots=2, nearest=2)

    def setup(self, shard: Shard) -> None:
        x0, y0, x1, y1 = shard.bounds
        for kind, count in ((Rock, 2), (Soldier, 6)):
            rows = shard[kind].spawn(count)
            shard[kind].at.x[rows] = shard.random("x", count, x0, x1)
            shard[kind].at.y[rows] = shard.random("y", count, y0, y1)
            shard[kind].at.vx[rows] = shard.random("vx", count, -900, 901)
            shard[kind].at.vy[rows] = shard.random("vy", count, -900, 901)
        shard[Soldier].squad[:] = shard.random("squad", len(shard[Soldier]), 0, SQUADS + 1)
        flags = shard[Flag].spawn(1)
        shard[Flag].team[flags] = 1 + shard.index % SQUADS

    def join(self, shard: Shard, players: Ints) -> None:
        rows = shard[Soldier].spawn(len(players))
        x0, y0, x1, y1 = shard.bounds
        shard[Soldier].at.x[rows], shard[Soldier].at.y[rows] = (x0 + x1) // 2, (y0 + y1) // 2
        shard.give_avatar(players, shard[Soldier], rows)

    def step(self, shard: Shard, inputs: Inputs) -> None:
        for kind in (Rock, Soldier):
            shard[kind].at.advance()
            shard[kind].at.bounce(shard.grid.world_bounds)


def secret(squad: int, number: int) -> int:
    """A value only this squad may see: SECRET_BYTES long on the wire."""
    assert 0 < number < 1 << 24
    return (squad + 16) << 24 | number * 0x9E3779 % (1 << 24)


def on_wire(value: int) -> bytes:
    return varint.encode(varint.zigzag(np.array([value], np.int64))).tobytes()


@dataclass
class Seat:
    """A client with its viewer; every frame is judged before the client reads it."""

    raid: RaidWorld
    session: int
    mirror: Mirror = field(default_factory=Mirror)
    frames: int = 0

    def __post_init__(self) -> None:
        self.viewer = Viewer(self.session, self._send, lambda _: None)
        self.viewer.slot = self.session if self.raid.in_lane else -1

    def _send(self, frame: bytearray, offset: int) -> None:
        data = bytes(frame[offset:])
        windows = {data[i : i + SECRET_BYTES] for i in range(len(data) - SECRET_BYTES + 1)}
        for squad, secrets in self.raid.secrets.items():
            if squad != self.viewer.team or not squad:
                assert not windows & secrets, f"a secret of squad {squad} was sent to one of {self.viewer.team}"
        self.frames += 1
        self.mirror.apply(self.mirror.parse(data))


@dataclass
class LaneOf:
    """As the compiled half of the lane: frames of one delivery, and what is single sessions' own behind them."""

    raid: RaidWorld
    extras: dict[int, bytes] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.raid.seats)

    def acks(self, sessions: Ints, seqs: Ints) -> list[tuple[int, int]]:
        return list(zip(sessions.tolist(), seqs.tolist(), strict=True))

    def own(self, own: dict[int, bytes]) -> None:
        self.extras |= own

    def send(self, frames: list[bytes], counts: list[int], slots: list[int], ack_tail: bytes) -> int:
        own, whose = 0, iter(slots)
        for frame, count in zip(frames, counts, strict=True):
            for _ in range(count):
                slot = next(whose)
                extra = self.extras.pop(slot, b"")
                own += len(extra)
                self.raid.seats[slot].viewer.send(bytearray(frame + extra), 0)
        return own

    def send_runs(
        self, head: bytes, data: bytes, cuts: Ints, run_counts: Ints, counts: list[int], slots: list[int], tail: bytes
    ) -> tuple[int, Ints]:
        runs = [data[begin:end] for begin, end in cuts.reshape(-1, 2).tolist()]
        ends = np.cumsum(run_counts).tolist()
        frames = [head + b"".join(runs[end - n : end]) for end, n in zip(ends, run_counts.tolist(), strict=True)]
        return self.send(frames, counts, slots, tail), np.array([len(frame) for frame in frames], np.int64)

    def send_rest(self, ack_tail: bytes) -> int:
        rest, self.extras = self.extras, {}
        for slot, piece in rest.items():
            self.raid.seats[slot].viewer.send(bytearray(piece), 0)
        return sum(map(len, rest.values()))


class RaidWorld(World):
    """Four shards, one gateway, and its clients."""

    def __init__(self, seed: int, budget_bytes_per_s: int = 0, *, in_lane: bool = False) -> None:
        self.in_lane = in_lane
        self.numbers = iter(range(1, 1 << 24))
        self.secrets: dict[int, set[bytes]] = defaultdict(set)
        super().__init__(Raid())
        self.contract = self.cores[0].contract
        budget = Budget(self.contract.grid, self.contract.interest, budget_bytes_per_s)
        self.views = Views(self.contract.grid, budget)
        self.fanout = Fanout(self.views, budget, cast("Lane", LaneOf(self)) if in_lane else None)
        self.welcome = Welcomes(self.contract, load(GatewaySettings))
        self.shards = range(len(self.cores))
        self.epochs = [1 for _ in self.shards]
        self.watches: list[Watches[str]] = [Watches(self.contract.grid, shard) for shard in self.shards]
        self.routes: list[Routes[str]] = [Routes() for _ in self.shards]
        self.events: list[list[tuple[SessionEvent, int, int]]] = [[] for _ in self.shards]
        self.seats: dict[int, Seat] = {}
        self.now_s = 0.0
        self.team_bytes = 0
        for shard in self.shards:
            self.views.found(shard)
            for kind in (Soldier, Flag):
                table = self.cores[shard].shard[kind]
                self.new_secrets(shard, kind, np.arange(len(table)))

    # ------------------------------------------------------------ what happens in the world

    def new_secrets(self, shard: int, kind: type[Entity], rows: Ints) -> None:
        """What the squads of these entities may see of them is another than before."""
        table = self.cores[shard].shard[kind]
        squads = table.squad if kind is Soldier else table.team
        for column in (table.supply, table.aim) if kind is Soldier else (table.held,):
            for row in rows.tolist():
                column[row] = secret(int(squads[row]), next(self.numbers))
                self.secrets[int(squads[row])].add(on_wire(int(column[row])))

    def enlist(self, shard: int, kind: type[Entity], rows: Ints, squad: int) -> None:
        """These entities are of another squad, and have other secrets."""
        table = self.cores[shard].shard[kind]
        (table.squad if kind is Soldier else table.team)[rows] = squad
        self.new_secrets(shard, kind, rows)

    def stop(self, shard: int) -> None:
        """Everything stands still where it is."""
        for kind in (Rock, Soldier):
            self.cores[shard].shard[kind].at.vx[:] = self.cores[shard].shard[kind].at.vy[:] = 0

    def home(self, session: int) -> tuple[int, int] | None:
        """Shard and row of the player of that session; None while it is between two."""
        for shard in self.shards:
            players = self.cores[shard].shard.players
            row = int(players.rows_of(np.array([session]))[0])
            if row >= 0 and players.session[row] and not players.away[row]:
                return shard, row
        return None

    # ------------------------------------------------------------ the gateway and its clients

    def connect(self, session: int, shard: int) -> None:
        """A new socket: of a new session, or of one that goes on."""
        old = self.seats.pop(session, None)
        if old is not None:
            self.views.remove(old.viewer)
        seat = self.seats[session] = Seat(self, session)
        seat.mirror.apply(seat.mirror.parse(self.welcome.piece(session, b"resume", 0)))
        self.fanout.viewers[session] = seat.viewer
        self.routes[shard].attach(session, session, LINK)
        self.events[shard].append((RESUME if old is not None else JOIN, session, session))

    def turn(self, shard: int) -> None:
        """One tick of a shard, delivered; all that it asks of shards is heard."""
        core, watches = self.cores[shard], self.watches[shard]
        events, self.events[shard] = self.events[shard], []
        outcome = self.step(shard, *events)
        for session, player in zip(*(each.tolist() for each in outcome.arrived), strict=True):
            self.routes[shard].attach(session, player, LINK)
        split = watches.take_split()
        if split is not None:
            core.split(split)
        updates, wanted = core.encode(), watches.wanted
        teams = core.for_teams(wanted)
        if teams is not None and teams.updates is not None:
            self.team_bytes += len(teams.updates.data)
        streams = core.streams
        cells = core.places.cells_of(streams.places) if streams is not None else no_ints()
        focus = core.focus() if watches.any_focused else (no_ints(), no_ints())
        stamp = TickStamp(shard, self.epochs[shard], core.tick)
        told = outputs(
            stamp, outcome, REFUSED, updates, core.keyframes(wanted), watches, self.routes[shard],
            Crowding(streams, cells, focus, core.populations), teams,
        )  # fmt: skip
        self.now_s += 0.05 / len(self.shards)
        for _, message in told:
            output = LinkMessage.FromString(message).output
            assert self.fanout.newer(output.shard, output.epoch, output.tick)
            self.fanout.deliver(decode(output, self.contract.grid), self.now_s)
        self.listen()

    def listen(self) -> None:
        """Shards hear what the gateway asks of them."""
        for shard, begin, end in self.views.take_watches():
            self.watches[shard].change(LINK, np.array(begin, np.int64), np.array(end, np.int64))
        for shard, split, unsplit, focus in self.views.take_splits():
            self.watches[shard].crowd(LINK, np.array(split, np.int64), np.array(unsplit, np.int64), focus)

    def recover(self, shard: int) -> None:
        """The shard's worker dies; another has its state, and knows nothing of who looks on."""
        self.views.lost(shard)
        old = self.cores[shard]
        core = ShardCore(self.contract, self.title, shard)
        snapshot.restore(core, snapshot.encode(snapshot.freeze(old), old, epoch=1, chain=b"", wall_ms=0))
        self.cores[shard] = core
        self.epochs[shard] += 1
        self.watches[shard], self.routes[shard] = Watches(self.contract.grid, shard), Routes()
        self.views.found(shard)
        self.listen()
        for session in self.seats:
            if (at := self.home(session)) is not None and at[0] == shard:
                self.routes[shard].attach(session, session, LINK)
                self.events[shard].append((RESUME, session, session))

    # ------------------------------------------------------------ what clients know

    def known(self, session: int, shard: int) -> dict[tuple[int, int], tuple[int, ...] | None]:
        """By (kind, id), what a client holds of the team columns of everything in a shard's cells it sees."""
        mirror = self.seats[session].mirror
        found: dict[tuple[int, int], tuple[int, ...] | None] = {}
        for cell in mirror.cells:
            if self.contract.grid.shard_of_cell(cell) == shard:
                for kind in (1, 2):
                    ids, (told, values) = mirror.rows(cell, kind)[0], mirror.team_rows(cell, kind)
                    for i, entity in enumerate(ids.tolist()):
                        found[kind, entity] = tuple(values[:, i].tolist()) if told[i] else None
        return found

    def allowed(self, session: int, shard: int) -> dict[tuple[int, int], tuple[int, ...] | None]:
        """The same as it must be, by the shard's state and the team that the gateway knows."""
        mirror, team = self.seats[session].mirror, self.seats[session].viewer.team
        tables = self.cores[shard].shard.tables
        found: dict[tuple[int, int], tuple[int, ...] | None] = {}
        for kind in (1, 2):
            table = tables[kind]
            squads = table.squad if kind == 1 else table.team
            values = np.stack((table.supply, table.aim)) if kind == 1 else table.held[None]
            cells = self.cores[shard]._replication._world(table.shadow.cell)
            for row in range(len(table)):
                if mirror.holds(int(cells[row])):
                    mine = team and int(squads[row]) == team
                    found[kind, int(table.ids[row])] = tuple(values[:, row].tolist()) if mine else None
        return found
