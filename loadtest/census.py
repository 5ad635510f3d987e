"""Where every entity was at every committed tick: the journals of all shards, replayed, as one account.

    a shard at a tick = what it had + what its record's messages brought + what was born - what died - what it sent

A message is on its way from the record that sent it to the record that received it. Records are gone through in an
order in which each message is sent before it is received; after each of them (a consistent cut of the whole world)
every entity is in one shard or in one message, and there are as many avatars as players who have one.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from overworld.shard.core import ShardCore
from overworld.shard.handover import HANDOVER, decode
from overworld.shard.inputs import ShardMessage
from overworld.world.contract import WorldContract

FAULTS_MAX = 50


@dataclass(frozen=True)
class Letter:
    """A message between shards as a record has it. `avatars`: of the players' rows it holds."""

    from_shard: int
    to_shard: int
    number: int
    entities: tuple[int, ...]
    avatars: tuple[int, ...]
    body: int
    """Hash of its kind and bytes."""

    @property
    def key(self) -> tuple[int, int, int]:
        """What makes it one of a kind."""
        return self.from_shard, self.to_shard, self.number


@dataclass(frozen=True)
class Count:
    """One shard after one tick: its entities, and the avatars that its players' rows name."""

    tick: int
    wall_ms: int
    entities: frozenset[int]
    avatars: frozenset[int]
    received: tuple[Letter, ...] = ()
    sent: tuple[Letter, ...] = ()


@dataclass(frozen=True)
class Hop:
    """An entity went over a border: away with the sender's tick, there with the receiver's."""

    entity: int
    from_shard: int
    left_tick: int
    to_shard: int
    came_tick: int
    ms: int
    """From the sender's record to the receiver's, by the workers' clocks."""


@dataclass
class Account:
    """What going through all records came to."""

    ticks: int = 0
    """Ticks of shards; after each the whole world was counted."""
    born: int = 0
    died: int = 0
    letters: int = 0
    """Messages received, of titles too."""
    handovers: int = 0
    """Messages received that held entities or players."""
    hops: list[Hop] = field(default_factory=list)
    in_transit: int = 0
    """Messages that nobody had received at the end."""
    entities_last: int = 0
    avatars_last: int = 0
    avatars_by_s: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Fewest and most avatars in the world (in shards and messages), by second since 1970."""
    faults: list[str] = field(default_factory=list)
    faults_count: int = 0

    def avatars_between(self, first_s: float, last_s: float) -> tuple[int, int]:
        """Fewest and most avatars within whole seconds of a time; (0, 0) where nothing is known of it."""
        found = [both for second, both in self.avatars_by_s.items() if first_s < second and second + 1 < last_s]
        return (min(low for low, _ in found), max(high for _, high in found)) if found else (0, 0)


def count_of(
    core: ShardCore, wall_ms: int, received: Iterable[ShardMessage] = (), sent: Iterable[ShardMessage] = ()
) -> Count:
    """The shard as it is now, after a tick that received and sent these messages."""
    players = core.shard.players
    return Count(
        core.tick,
        wall_ms,
        frozenset(i for table in core.shard.tables for i in table.ids.tolist()),
        frozenset(players.avatar[players.avatar != 0].tolist()),
        tuple(map(_letter, received)),
        tuple(map(_letter, sent)),
    )


def _letter(message: ShardMessage) -> Letter:
    entities: list[int] = []
    avatars: list[int] = []
    if message.kind == HANDOVER:
        for rows in decode(message.body)[1]:
            if "avatar" in rows.columns:
                avatars += [i for i in rows.values[rows.columns.index("avatar")].tolist() if i]
            else:
                entities += rows.ids.tolist()
    ends = message.from_shard, message.to_shard, message.number
    return Letter(*ends, tuple(entities), tuple(avatars), hash((message.kind, message.body)))


def account(contract: WorldContract, counts: Sequence[Sequence[Count]]) -> Account:
    """Go through all shards' ticks; `counts[shard]` is in order and begins with the shard's state before its first
    record, which has no messages.
    """
    world = _World(contract, [of_shard[0] for of_shard in counts])
    waiting = [(of_shard[1].wall_ms, shard, 1) for shard, of_shard in enumerate(counts) if len(of_shard) > 1]
    heapq.heapify(waiting)
    early: list[tuple[int, int, int]] = []
    while waiting:
        ms, shard, at = heapq.heappop(waiting)
        count = counts[shard][at]
        if not world.sent_before(count):
            # By its worker's clock it was earlier than what it had received: clocks differ, and step.
            early.append((ms, shard, at))
            continue
        world.take(shard, count)
        if at + 1 < len(counts[shard]):
            heapq.heappush(waiting, (counts[shard][at + 1].wall_ms, shard, at + 1))
        for entry in early:
            heapq.heappush(waiting, entry)
        early.clear()
    for _, shard, at in early:
        lacking = [m.key for m in counts[shard][at].received if m.key not in world.sent]
        world.fault(f"shard {shard} tick {counts[shard][at].tick} received {lacking[:3]}, which nobody sent")
    return world.close()


class _World:
    """Everything at one consistent cut."""

    def __init__(self, contract: WorldContract, begins: list[Count]) -> None:
        self._contract = contract
        self._kinds, self._shards = len(contract.kinds), contract.grid.shard_count
        self._here = [set(begin.entities) for begin in begins]
        self._players = [len(begin.avatars) for begin in begins]
        self._avatars = [len(begin.avatars) for begin in begins]
        self._avatars_ever: set[int] = set().union(*(begin.avatars for begin in begins))
        self._on_the_way: dict[tuple[int, int, int], tuple[Letter, Count]] = {}
        self._ever: set[int] = set().union(*self._here)
        self._last_sent: Counter[tuple[int, int]] = Counter()
        self._last_received: Counter[tuple[int, int]] = Counter()
        self.sent: set[tuple[int, int, int]] = set()
        self._result = Account()

    def fault(self, what: str) -> None:
        """Note what must not be."""
        self._result.faults_count += 1
        if len(self._result.faults) < FAULTS_MAX:
            self._result.faults.append(what)

    def sent_before(self, count: Count) -> bool:
        """Whether all that this tick received has been sent."""
        return all(letter.key in self.sent for letter in count.received)

    def take(self, shard: int, count: Count) -> None:
        """One shard's next tick."""
        where = f"shard {shard} tick {count.tick}"
        here = self._here[shard]
        for letter in count.received:
            self._receive(shard, count, letter, where)
        fresh = set(count.entities - here)
        for letter in count.sent:
            # Born over the border, or so fast that it crossed at once.
            fresh |= set(letter.entities) - here
        self._bear(shard, fresh, where)
        for letter in count.sent:
            self._send(shard, count, letter, where)
        dead = here - count.entities
        self._result.died += len(dead)
        here -= dead
        if here != count.entities:
            self.fault(f"{where}: {sorted(count.entities ^ here)[:5]} are there or in the account, and not in both")
            self._here[shard] = set(count.entities)
        self._count_avatars(shard, count, where)
        self._result.ticks += 1

    def _receive(self, shard: int, count: Count, letter: Letter, where: str) -> None:
        pair = letter.from_shard, shard
        if letter.to_shard != shard or letter.number != self._last_received[pair] + 1:
            self.fault(f"{where}: message {letter.key} came after {self._last_received[pair]}")
        self._last_received[pair] = letter.number
        sent, at = self._on_the_way.pop(letter.key, (None, count))
        if sent is None or sent != letter:
            self.fault(f"{where}: message {letter.key} came {'twice' if sent is None else 'changed'}")
            return
        self._result.letters += 1
        self._result.handovers += bool(letter.entities or letter.avatars)
        for entity in letter.entities:
            if entity in self._here[shard]:
                self.fault(f"{where}: entity {entity} came and was there already")
            hop = Hop(entity, letter.from_shard, at.tick, shard, count.tick, count.wall_ms - at.wall_ms)
            self._result.hops.append(hop)
        self._here[shard] |= set(letter.entities)

    def _bear(self, shard: int, fresh: set[int], where: str) -> None:
        for entity in fresh:
            if entity in self._ever or entity // self._kinds % self._shards != shard:
                self.fault(f"{where}: entity {entity} is there without having come or been born")
        self._ever |= fresh
        self._here[shard] |= fresh
        self._result.born += len(fresh)

    def _send(self, shard: int, count: Count, letter: Letter, where: str) -> None:
        pair = shard, letter.to_shard
        if letter.from_shard != shard or letter.number != self._last_sent[pair] + 1 or letter.key in self.sent:
            self.fault(f"{where}: message {letter.key} was sent after {self._last_sent[pair]}")
        self._last_sent[pair] = letter.number
        self._avatars_ever.update(letter.avatars)
        self.sent.add(letter.key)
        self._on_the_way[letter.key] = letter, count
        for entity in letter.entities:
            if entity in count.entities or entity not in self._here[shard]:
                self.fault(f"{where}: entity {entity} was sent and is still there, or was sent twice")
            self._here[shard].discard(entity)

    def _count_avatars(self, shard: int, count: Count, where: str) -> None:
        self._avatars_ever |= count.avatars
        self._avatars[shard] = len(self._here[shard] & self._avatars_ever)
        self._players[shard] = len(count.avatars)
        if not count.avatars <= count.entities:
            self.fault(f"{where}: players' avatars {sorted(count.avatars - count.entities)[:5]} are not there")
        going = [letter for letter, _ in self._on_the_way.values() if letter.entities or letter.avatars]
        # An entity that was an avatar once lives no longer than its player plays.
        avatars = sum(self._avatars) + sum(len(self._avatars_ever.intersection(m.entities)) for m in going)
        players = sum(self._players) + sum(len(letter.avatars) for letter in going)
        if avatars != players:
            self.fault(f"{where}: {avatars} avatars in the world, of {players} players")
        second = count.wall_ms // 1000
        low, high = self._result.avatars_by_s.get(second, (avatars, avatars))
        self._result.avatars_by_s[second] = min(low, avatars), max(high, avatars)
        self._result.avatars_last = avatars

    def close(self) -> Account:
        """The result."""
        self._result.in_transit = len(self._on_the_way)
        going = sum(len(letter.entities) for letter, _ in self._on_the_way.values())
        self._result.entities_last = sum(map(len, self._here)) + going
        return self._result
