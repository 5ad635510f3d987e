"""`overworld replay`: runs a stretch of a shard's past again, checks it against the journal, shows it as JSON lines.

a digest     {"tick", "time", "epoch", "digest", "checked"}: of the whole state after the tick; checked: the journal
             has one, and it is the same
a player     {"tick", "player", "events", "inputs", "online", "avatar"}: with --player, at every tick
a state      {"tick", "shard", "digest", "tables"}: with --dump; every table, every column, rows by id
at the end   {"ok", "from", "to", "ticks", "digests_checked", "digest", ...}
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from overworld.errors import Corrupt, DivergenceError, FormatTooNew, SettingsError
from overworld.shard import record
from overworld.shard.core import ShardCore
from overworld.shard.inputs import TickInputs
from overworld.shard.record import Record
from overworld.store.ports import JournalEntry
from overworld.worker.follower import Follower
from overworld.worker.history import CURRENT, History
from overworld.worker.moments import Moment, Place, find, iso
from overworld.world.table import Table

EXIT_SAME, EXIT_DIFFERS = 0, 1

Say = Callable[[str], object]


@dataclass(frozen=True)
class ReplayOptions:
    """What to run and to show. `digests`: a line for every n-th tick; 0: none. `dump`: alone or within a stretch."""

    start: Moment | None = None
    end: Moment | None = None
    branch: str = ""
    player: int | None = None
    dump: Moment | None = None
    digests: int = 20


@dataclass(frozen=True)
class _Stretch:
    """Ticks to show, `first`..`last` (none where only a dump is wanted). `run_from`: the latest state that can be begun
    with; `dump`: -1 for none.
    """

    place: Place
    first: int
    last: int
    run_from: int
    run_to: int
    dump: int


async def replay(
    history: History, new_core: Callable[[], ShardCore], options: ReplayOptions, show: Say, tell: Say
) -> int:
    """Run it. `show` gets JSON lines, `tell` words for people. Returns the exit code: 1 where the replay does not give
    what the journal says.

    Raises NotKept, Corrupt (nothing good to start from, a record that is damaged or out of its chain), SettingsError.
    """
    stretch = await _stretch(history, options)
    track, found = await history.start(stretch.place.track, stretch.run_from, new_core)
    follower = found.follower
    for problem in found.problems:
        tell(f"passed over: {problem}")
    which = "the current branch" if track.current else f"branch {track.name}, which was given up"
    tell(f"shard {history.shard}, {which}: from {found.source} at tick {follower.tick}, to tick {stretch.run_to}")
    view = _View(follower, stretch, options, show)
    view.started()
    try:
        async for entry in history.entries(track, follower.tick, stretch.run_to):
            view.run(entry)
    except (DivergenceError, Corrupt) as error:
        view.ended(track.name, str(error))
        tell(str(error))
        return EXIT_DIFFERS
    except FormatTooNew as error:
        raise FormatTooNew(f"{error} (a replay needs the version that wrote the records)") from error
    view.ended(track.name)
    return EXIT_SAME


async def _stretch(history: History, options: ReplayOptions) -> _Stretch:
    end = options.end or options.dump or options.start
    if end is None:
        raise SettingsError("say which ticks or times: --from and --to, or --dump")
    place = await find(history, end, options.branch)
    branch = CURRENT if place.track.current else place.track.chain.hex()

    async def tick_of(moment: Moment) -> int:
        return moment.tick if moment.tick is not None else (await find(history, moment, branch)).tick

    dump = await tick_of(options.dump) if options.dump is not None else -1
    if options.start is None and options.end is None:
        return _Stretch(place, dump + 1, dump, dump, dump, dump)
    first = max(1, await tick_of(options.start) if options.start is not None else place.tick)
    if first > place.tick:
        raise SettingsError(f"--from is tick {first} and --to is tick {place.tick}: nothing lies between")
    run_from = min(first - 1, dump) if dump >= 0 else first - 1
    return _Stretch(place, first, place.tick, run_from, max(place.tick, dump), dump)


class _View:
    """Runs records and shows what was asked for."""

    def __init__(self, follower: Follower, stretch: _Stretch, options: ReplayOptions, show: Say) -> None:
        self._follower = follower
        self._stretch = stretch
        self._options = options
        self._show = show
        self._ticks = 0
        self._checked = 0

    def started(self) -> None:
        """The state to begin with may be the one to dump."""
        self._dump_if_asked()

    def run(self, entry: JournalEntry) -> None:
        """One more tick."""
        core, options = self._follower.core, self._options
        tick = entry.tick
        in_view = self._stretch.first <= tick <= self._stretch.last
        sessions = _sessions_of(core, options.player) if in_view and options.player is not None else set()
        self._follower.apply(entry)
        if in_view:
            found = record.decode(entry.payload)
            checked = bool(found.state_digest)
            self._ticks += 1
            self._checked += checked
            every = options.digests
            if every and (tick == self._stretch.last or (tick - self._stretch.first) % every == 0):
                self._digest(found, checked)
            if options.player is not None:
                self._line(_player(core, found, options.player, sessions))
        self._dump_if_asked()

    def ended(self, branch: str, error: str = "") -> None:
        """The last line."""
        stretch, follower = self._stretch, self._follower
        line: dict[str, Any] = {
            "ok": not error,
            "shard": follower.core.index,
            "branch": branch,
            "from": min(stretch.first, stretch.last),
            "to": stretch.last,
            "ticks": self._ticks,
            "digests_checked": self._checked,
            "digest": follower.core.digest().hex(),
        }
        if error:
            line |= {"error": error, "reached": follower.tick}
        self._line(line)

    def _digest(self, found: Record, checked: bool) -> None:
        self._line(
            {
                "tick": found.tick,
                "time": iso(found.wall_ms),
                "epoch": found.epoch,
                "digest": self._follower.core.digest().hex(),
                "checked": checked,
            }
        )

    def _dump_if_asked(self) -> None:
        if self._follower.tick == self._stretch.dump:
            self._line(state_of(self._follower.core))

    def _line(self, what: dict[str, Any]) -> None:
        self._show(json.dumps(what, separators=(",", ":")))


def state_of(core: ShardCore) -> dict[str, Any]:
    """A shard's whole state as plain data: tables in the order of the title, rows by id, columns in their order."""
    return {
        "tick": core.tick,
        "shard": core.index,
        "digest": core.digest().hex(),
        "tables": [_table(table) for table in [*core.shard.tables, core.shard.players]],
    }


def _table(table: Table) -> dict[str, Any]:
    columns = {name: table.columns[i].tolist() for i, name in enumerate(table.kind.names)}
    return {"name": table.kind.name, "next_id": table.next_id, "ids": table.ids.tolist(), "columns": columns}


# ---------------------------------------------------------------- one player


def _sessions_of(core: ShardCore, player: int) -> set[int]:
    """The player's session before the tick: its inputs came under that, or under one that the tick begins."""
    rows = core.shard.players.ids == player
    return {int(session) for session in core.shard.players.session[rows] if session}


def _player(core: ShardCore, found: Record, player: int, sessions: set[int]) -> dict[str, Any]:
    inputs, players = found.inputs, core.shard.players
    events = [(code, session) for code, session, who in inputs.events if who == player]
    sessions = sessions | {session for _, session in events}
    line: dict[str, Any] = {
        "tick": found.tick,
        "player": player,
        "events": [{"event": code.name.lower(), "session": session} for code, session in events],
        "inputs": _inputs(core, inputs, sessions),
    }
    at = next(iter((players.ids == player).nonzero()[0].tolist()), None)
    if at is None:
        return line | {"online": False, "avatar": None}
    own = {column.name: int(getattr(players, column.name)[at]) for column in core.contract.player_columns}
    return line | {"online": bool(players.online[at]), "columns": own, "avatar": _avatar(core, at)}


def _inputs(core: ShardCore, inputs: TickInputs, sessions: set[int]) -> list[dict[str, Any]]:
    found, at = [], 0
    columns = (inputs.sessions, inputs.seqs, inputs.kinds, inputs.counts)
    for session, seq, kind, count in zip(*(column.tolist() for column in columns), strict=True):
        if session in sessions:
            declared = core.contract.inputs[kind]
            values = inputs.values[at : at + count].tolist()
            named = dict(zip([field.name for field in declared.fields], values, strict=True))
            found.append({"seq": seq, "kind": declared.name, "values": named})
        at += count
    return found


def _avatar(core: ShardCore, row: int) -> dict[str, Any] | None:
    players = core.shard.players
    kind = int(players.avatar_kind[row])
    if kind < 0:
        return None
    table = core.shard.tables[kind]
    (at,) = table.rows_of(players.avatar[row : row + 1]).tolist()
    if at < 0:
        return None
    columns = {name: int(table.columns[i, at]) for i, name in enumerate(table.kind.names)}
    return {"kind": table.kind.name, "id": int(table.ids[at]), "columns": columns}
