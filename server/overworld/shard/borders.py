"""What passes between a shard and the others: entities that crossed a border, their players, titles' messages.

Exactly once, whoever dies in between: the sender counts what it sends to each shard, the receiver what it has applied
of each, and both counters are state, saved and replayed together with what the messages did. The message is written to
the store in one step with the record of the tick that sent it (RELIABILITY, "Cross-shard messages").

    sender   tick T     the entity is removed, message n = sent + 1 holds it and its player's row
    receiver tick T'    applied if n = received + 1, ignored if it is not above `received`
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from overworld.game import Title
from overworld.shard import handover
from overworld.shard.handover import HANDOVER, HOPS_MAX, TableRows
from overworld.shard.inputs import ShardMessage, no_ints
from overworld.world.home import home_shard
from overworld.world.messages import Batch, MessageColumns
from overworld.world.state import Shard
from overworld.world.table import Table

Ints = npt.NDArray[np.int64]

TICK_BYTES_MAX = 512 << 10
"""Bytes that one tick sends at most. Entities beyond it cross with the next tick; titles' messages are dropped."""
MESSAGES_MAX = 1000
TRAIL_S = 60
"""For so long a shard knows where an entity went."""


@dataclass
class Arrivals:
    """What a tick's messages brought."""

    sessions: list[int] = field(default_factory=list)
    players: list[int] = field(default_factory=list)
    undelivered: int = 0
    alarms: list[str] = field(default_factory=list)


@dataclass
class Departures:
    """What a tick sends. `moved`: (session, shard, number)."""

    outbox: list[ShardMessage] = field(default_factory=list)
    moved: list[tuple[int, int, int]] = field(default_factory=list)
    undelivered: int = 0
    bytes_left: int = TICK_BYTES_MAX

    @property
    def full(self) -> bool:
        """True where nothing more fits this tick."""
        return self.bytes_left <= 0 or len(self.outbox) >= MESSAGES_MAX


class Borders:
    """One shard's dealings with the others. Keeps no state but what is in the shard's tables."""

    def __init__(self, shard: Shard, title: Title) -> None:
        self._shard = shard
        self._title = title
        x0, y0, x1, y1 = shard.bounds
        self._corner, self._size = (x0, y0), (np.uint64(x1 - x0), np.uint64(y1 - y0))
        self._tables = {table.kind.name: table for table in [*shard.tables, shard.players]}
        self._kinds = {declared.name: i for i, declared in enumerate(shard.contract.messages)}
        self._alone = shard.grid.shard_count == 1

    def received(self, from_shard: int) -> int:
        """Number of the last message of that shard that was applied; 0 where none was."""
        neighbours = self._shard.neighbours
        row = int(neighbours.rows_of(np.array([from_shard], np.int64))[0])
        return int(neighbours.received[row]) if row >= 0 else 0

    # ------------------------------------------------------------ what comes

    def take(self, messages: Iterable[ShardMessage]) -> Arrivals:
        """Apply the messages of a tick, in order."""
        arrivals = Arrivals()
        batches: list[Batch] = []
        contract = self._shard.contract
        for message in messages:
            row = self._row(message.from_shard)
            received = self._shard.neighbours.received
            if message.number <= received[row]:
                continue
            if message.number != received[row] + 1:
                arrivals.alarms.append(f"message {message.number} of shard {message.from_shard} after {received[row]}")
                continue
            received[row] = message.number
            if message.kind == HANDOVER:
                self._arrive(message, arrivals)
            elif message.kind <= len(contract.messages):
                kind = contract.messages[message.kind - 1]
                batches.append(handover.decode_batch(kind.name, self._shard.index, len(kind.fields), message.body))
            else:
                arrivals.alarms.append(f"a message of unknown kind {message.kind} from shard {message.from_shard}")
        if batches:
            self._offer(batches, arrivals)
        return arrivals

    def _arrive(self, message: ShardMessage, arrivals: Arrivals) -> None:
        version, tables = handover.decode(message.body)
        for rows in tables:
            table = self._tables.get(rows.name)
            if table is None:
                arrivals.alarms.append(f"{len(rows.ids)} {rows.name} from shard {message.from_shard}: no such kind")
                continue
            if version != self._title.version:
                rows = self._migrated(rows, version)
            values = handover.fitted(table, rows, self._shard.tick)
            if table is self._shard.players:
                self._players_arrive(rows.ids, values, arrivals)
            else:
                self._entities_arrive(table, rows.ids, values, arrivals)

    def _migrated(self, rows: TableRows, version: int) -> TableRows:
        columns = dict(zip(rows.columns, rows.values, strict=True))
        migrated = self._title.migrate(rows.name, version, columns)
        values = np.stack(list(migrated.values())) if migrated else rows.values[:0]
        return TableRows(rows.name, tuple(migrated), rows.ids, values)

    def _entities_arrive(self, table: Table, ids: Ints, values: Ints, arrivals: Arrivals) -> None:
        new = table.rows_of(ids) < 0
        if not new.all():
            # Only where the store lost what it had promised to keep: one copy is enough.
            arrivals.alarms.append(f"{table.kind.name} {ids[~new][:8].tolist()} came, but were here already")
        table.admit(ids[new], values[:, new])
        trail = self._shard.trail
        back = trail.rows_of(ids)
        trail.remove(back[back >= 0])

    def _players_arrive(self, ids: Ints, values: Ints, arrivals: Arrivals) -> None:
        players = self._shard.players
        names = players.kind.names
        for name, value in (("view_cell", -1), ("away", 0), ("away_number", 0)):
            values[names.index(name)] = value
        known = players.rows_of(ids)
        here = known >= 0
        players.columns[:, known[here]] = values[:, here]
        if not here.all():
            players.admit(ids[~here], values[:, ~here])
        online = values[names.index("online")] > 0
        arrivals.sessions += values[names.index("session"), online].tolist()
        arrivals.players += ids[online].tolist()

    # ------------------------------------------------------------ messages for the title

    def _offer(self, batches: list[Batch], arrivals: Arrivals) -> None:
        """Give the title what is for it, and pass on what is for entities that went on."""
        offered: dict[str, list[tuple[Ints, Ints, Ints]]] = {}
        for batch in batches:
            assert batch.senders is not None
            if batch.entities is None:
                nobody = np.zeros(len(batch.senders), np.int64)
                offered.setdefault(batch.kind, []).append((batch.senders, nobody, batch.values))
                continue
            here = self._here(batch.entities)
            if here.any():
                mine = (batch.senders[here], batch.entities[here], batch.values[:, here])
                offered.setdefault(batch.kind, []).append(mine)
            if not here.all():
                arrivals.undelivered += self._pass_on(batch, np.flatnonzero(~here))
        columns = {}
        for declared in self._shard.contract.messages:
            if declared.name in offered:
                parts = offered[declared.name]
                values = np.concatenate([part[2] for part in parts], axis=1)
                columns[declared.name] = MessageColumns(
                    np.concatenate([part[0] for part in parts]),
                    np.concatenate([part[1] for part in parts]),
                    {c.name: values[i] for i, c in enumerate(declared.fields)},
                )
        self._shard.offer(columns)

    def _here(self, entities: Ints) -> npt.NDArray[np.bool_]:
        """Which of these entities are in this shard."""
        tables = self._shard.tables
        kinds = entities % len(tables)
        here = np.zeros(len(entities), np.bool_)
        for i, table in enumerate(tables):
            mine = kinds == i
            if mine.any():
                here[mine] = table.rows_of(entities[mine]) >= 0
        return here

    def _pass_on(self, batch: Batch, rows: Ints) -> int:
        """Send these messages after their entities. Returns how many have nowhere to go."""
        assert batch.entities is not None
        trail = self._shard.trail
        at = trail.rows_of(batch.entities[rows])
        hops = batch.hops[rows] + 1 if batch.hops is not None else np.ones(len(rows), np.int64)
        known = (at >= 0) & (hops <= HOPS_MAX)
        kept = rows[known]
        if len(kept):
            senders = batch.senders[kept] if batch.senders is not None else np.full(len(kept), self._shard.index)
            self._shard.outgoing.batches.append(
                Batch(
                    batch.kind,
                    trail.shard[at[known]].copy(),
                    batch.entities[kept],
                    batch.values[:, kept],
                    senders,
                    hops[known],
                )
            )
        return len(rows) - len(kept)

    # ------------------------------------------------------------ what goes

    def send(self, going_home: Ints) -> Departures:
        """Everything that leaves with this tick. `going_home`: rows of players who left for good, int64[n]."""
        departures = Departures()
        if not self._alone:
            for kind, table in enumerate(self._shard.tables):
                if table.kind.motion is not None and len(table):
                    self._cross(kind, table, departures)
            if len(going_home):
                self._send_home(going_home, departures)
        if self._shard.outgoing.batches:
            self._send_batches(departures)
        self._forget_trail()
        return departures

    def _cross(self, kind: int, table: Table, departures: Departures) -> None:
        """Send off the entities of a kind that stand where another shard rules."""
        x, y = table.public[0], table.public[1]
        # As unsigned numbers, what lies below the corner is far above the size: one comparison an axis.
        far_x = (x - self._corner[0]).view(np.uint64) >= self._size[0]
        outside = far_x | ((y - self._corner[1]).view(np.uint64) >= self._size[1])
        if not outside.any():
            return
        rows = np.flatnonzero(outside)
        to = self._shard.grid.shards_of(x[rows], y[rows])
        rows, to = rows[to != self._shard.index], to[to != self._shard.index]
        at_once = handover.rows_per_message(table, self._shard.players)
        sent = []
        for shard in np.unique(to).tolist():
            mine = rows[to == shard]
            for first in range(0, len(mine), at_once):
                if departures.full:
                    break
                chosen = mine[first : first + at_once]
                self._hand_over(kind, table, chosen, shard, departures)
                sent.append(chosen)
        if sent:
            table.remove(np.concatenate(sent))

    def _hand_over(self, kind: int, table: Table, rows: Ints, to_shard: int, departures: Departures) -> None:
        tick = self._shard.tick
        ids = table.ids[rows]
        tables = [handover.rows_of(table, rows, tick)]
        players = self._shard.players
        owners = np.flatnonzero(players.avatar_kind == kind)
        owners = owners[np.isin(players.avatar[owners], ids)]
        if len(owners):
            tables.append(handover.rows_of(players, owners, tick))
        number = self._post(to_shard, HANDOVER, handover.encode(self._title.version, tables), departures)
        for session in players.session[owners].tolist():
            if session:
                departures.moved.append((session, to_shard, number))
        self._leave_stubs(owners, to_shard, number)
        self._leave_trail(ids, to_shard)

    def _send_home(self, rows: Ints, departures: Departures) -> None:
        """Players who left for good are kept where they come first at their next visit."""
        players, shards = self._shard.players, self._shard.grid.shard_count
        homes = np.array([home_shard(player, shards) for player in players.ids[rows].tolist()], np.int64)
        at_once = handover.rows_per_message(players)
        for home in np.unique(homes[homes != self._shard.index]).tolist():
            mine = rows[homes == home]
            for first in range(0, len(mine), at_once):
                chosen = mine[first : first + at_once]
                table = handover.rows_of(players, chosen, self._shard.tick)
                number = self._post(home, HANDOVER, handover.encode(self._title.version, [table]), departures)
                self._leave_stubs(chosen, home, number)

    def _leave_stubs(self, rows: Ints, to_shard: int, number: int) -> None:
        """What stays of players who went: where to."""
        players = self._shard.players
        players.columns[:, rows] = 0
        players.avatar_kind[rows] = -1
        players.view_cell[rows] = -1
        players.away[rows] = to_shard + 1
        players.away_number[rows] = number

    def _leave_trail(self, ids: Ints, to_shard: int) -> None:
        trail = self._shard.trail
        new = trail.rows_of(ids) < 0
        if new.any():
            trail.admit(ids[new], np.zeros((2, int(new.sum())), np.int64))
        rows = trail.rows_of(ids)
        trail.shard[rows] = to_shard
        trail.tick[rows] = self._shard.tick

    def _forget_trail(self) -> None:
        hz = self._shard.grid.tick_hz
        trail = self._shard.trail
        if self._shard.tick % hz == 0 and len(trail):
            trail.remove(trail.tick < self._shard.tick - TRAIL_S * hz)

    def _send_batches(self, departures: Departures) -> None:
        """Titles' messages, each to the shard it names, or after its entity."""
        for batch in self._shard.outgoing.take():
            shards = batch.shards.copy()
            if batch.entities is not None:
                # An entity that left this shard with this very tick.
                mine = np.flatnonzero(shards == self._shard.index)
                at = self._shard.trail.rows_of(batch.entities[mine])
                shards[mine[at >= 0]] = self._shard.trail.shard[at[at >= 0]]
            for shard in np.unique(shards).tolist():
                for body in handover.encode_batch(batch, np.flatnonzero(shards == shard), self._shard.index):
                    if departures.full or not 0 <= shard < self._shard.grid.shard_count:
                        departures.undelivered += 1
                    else:
                        self._post(shard, self._kinds[batch.kind] + 1, body, departures)

    def _post(self, to_shard: int, kind: int, body: bytes, departures: Departures) -> int:
        """Number a message and put it in the outbox."""
        row = self._row(to_shard)
        number = int(self._shard.neighbours.sent[row]) + 1
        self._shard.neighbours.sent[row] = number
        departures.outbox.append(ShardMessage(self._shard.index, to_shard, number, kind, body))
        departures.bytes_left -= len(body)
        return number

    def _row(self, shard: int) -> int:
        """The row of another shard's counters; made where there is none."""
        neighbours = self._shard.neighbours
        ids = np.array([shard], np.int64)
        row = int(neighbours.rows_of(ids)[0])
        return row if row >= 0 else int(neighbours.admit(ids, np.zeros((2, 1), np.int64))[0])


def columns_of(moved: list[tuple[int, int, int]]) -> tuple[Ints, Ints, Ints]:
    """(sessions, shards, numbers), int64[n] each."""
    if not moved:
        return no_ints(), no_ints(), no_ints()
    sessions, shards, numbers = np.array(moved, np.int64).T
    return sessions, shards, numbers
