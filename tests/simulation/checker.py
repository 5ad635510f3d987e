"""Holds what every bot saw and did against the journals, as it happens and once more at the end.

I1 what was shown is in the journal; I3 pictures equal the replay; I5 acknowledged inputs changed the world exactly
once, as sent; I6 ticks of a shard only grow on a socket; I9 everybody plays again soon after the last fault. (I2 is
checked by `lineage`.) I4 every entity and every player is in one shard or on its way to one, at every look.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from overworld.client.mirror import Mirror
from overworld.shard.core import ShardCore
from overworld.shard.handover import HANDOVER, decode
from tests.simulation.bots import Bot
from tests.simulation.lineage import Lineage, Picture, require

EXPECTED_CLOSES = frozenset({0, 1006, 1012, 1013, 4007, 4008, 4009, 4010})
"""What a blameless client may be told while processes die: 4007 where a dead gateway took inputs along."""


class Checker:
    """The witness of all bots. `lossy` is set where the commit level allows a failover to take released ticks back."""

    def __init__(self, lineage: Lineage, *, lossy: bool = False) -> None:
        self.lineage = lineage
        self.lossy = lossy
        self.checks: Counter[str] = Counter()
        self.inputs: dict[tuple[int, int], list[int]] = {}
        self.closes: Counter[int] = Counter()
        self._shown: dict[tuple[int, int], tuple[int, int]] = {}
        self._by_session: dict[int, dict[int, list[int]]] = {}
        self._born: set[int] = set()

    # ------------------------------------------------------------ what bots tell

    def sent(self, bot: Bot, seq: int, values: list[int]) -> None:
        """Remember what an input was, for when the journal has it."""
        self._by_session.setdefault(bot.session.session, {})[seq] = values

    def saw(self, bot: Bot, taken: bool) -> None:
        """A message of the server was applied."""
        require(taken, "I6", f"bot {bot.number} was sent a tick that is not above the last one of its shard")
        self.checks["I6"] += 1
        mirror = bot.mirror
        for shard, (epoch, tick) in mirror.ticks.items():
            if self._shown.get((bot.number, shard)) != (epoch, tick):
                self._shown[bot.number, shard] = (epoch, tick)
                self._check_tick(bot, shard, epoch, tick)
        if mirror.acked_at is not None and not self.lossy:
            self._check_ack(bot, *mirror.acked_at)

    def closed(self, bot: Bot, code: int, reason: str) -> None:
        """Only some closes are excusable."""
        self.closes[code] += 1
        require(code in EXPECTED_CLOSES, "I9", f"bot {bot.number} was closed with {code} {reason}")
        for key in [k for k in self._shown if k[0] == bot.number]:
            del self._shown[key]

    # ------------------------------------------------------------ checks

    def _check_tick(self, bot: Bot, shard: int, epoch: int, tick: int) -> None:
        if self.lossy and not self.lineage.has(shard, tick):
            return
        journaled = self.lineage.has(shard, tick)
        require(journaled, "I1", f"bot {bot.number} saw tick {tick} of shard {shard}, which is not journaled")
        self.checks["I1"] += 1
        truth = self.lineage.picture(shard, tick)
        if truth is None or self.lossy:
            return
        under = self.lineage.epoch_of(shard, tick)
        require(under == epoch, "I2", f"tick {tick} of shard {shard}: shown under epoch {epoch}, not {under}")
        seen = picture_of(bot.mirror, shard)
        for cell, rows in seen.items():
            there = truth.get(cell, frozenset())
            require(rows == there, "I3", f"bot {bot.number}, tick {tick}, cell {cell}: {sorted(rows ^ there)[:4]}")
            self.checks["I3"] += 1

    def _check_ack(self, bot: Bot, shard: int, tick: int) -> None:
        seqs = self.lineage.last_seqs(shard, tick)
        if seqs is not None and bot.session.session in seqs:
            applied = seqs[bot.session.session]
            acked = bot.mirror.acked
            require(acked <= applied, "I5", f"bot {bot.number}: ack of {acked} at tick {tick}, which applied {applied}")
            self.checks["I5"] += 1

    # ------------------------------------------------------------ at the end

    def check_inputs(self) -> None:
        """Every input in the journals: once, in order, as the bot made it, whichever shard its player was in."""
        applied: dict[int, dict[int, str]] = {}
        for shard, lineage in enumerate(self.lineage.shards):
            last: dict[int, int] = {}
            for record in lineage.records:
                at = 0
                inputs = record.inputs
                for session, seq, count in zip(
                    inputs.sessions.tolist(), inputs.seqs.tolist(), inputs.counts.tolist(), strict=True
                ):
                    values = inputs.values[at : at + count].tolist()
                    at += count
                    where = f"shard {shard} tick {record.tick} session {session}"
                    require(seq > last.get(session, 0), "I5", f"{where}: input {seq} after {last.get(session, 0)}")
                    last[session] = seq
                    first = applied.setdefault(session, {}).setdefault(seq, where)
                    require(first is where, "I5", f"{where}: input {seq} was applied before: {first}")
                    sent = self._by_session.get(session, {}).get(seq)
                    require(self.lossy or sent == values, "I5", f"{where}: input {seq} is {values}, was sent as {sent}")
                    self.checks["I5"] += 1
        for session, inputs_of in applied.items():
            missing = set(range(1, max(inputs_of) + 1)) - inputs_of.keys()
            require(not missing, "I5", f"session {session}: inputs {sorted(missing)[:5]} were passed over")

    def check_entities(self) -> None:
        """Every entity and every player is in one shard, or on its way to one; and nobody is missing."""
        entities: Counter[int] = Counter()
        players: Counter[int] = Counter()
        for shard in range(len(self.lineage.shards)):
            core = self.lineage.core(shard)
            for table in core.shard.tables:
                entities.update(table.ids.tolist())
            players.update(core.shard.players.ids[core.shard.players.avatar != 0].tolist())
        for message in self.lineage.in_transit():
            if message.kind == HANDOVER:
                for rows in decode(message.body)[1]:
                    if rows.name == "Player":
                        players.update(rows.ids[rows.values[rows.columns.index("avatar")] != 0].tolist())
                    else:
                        entities.update(rows.ids.tolist())
                        self.checks["handovers in transit"] += 1
        require(not entities or max(entities.values()) == 1, "I4", f"entities twice: {entities.most_common(3)}")
        require(not players or max(players.values()) == 1, "I4", f"players twice: {players.most_common(3)}")
        missing = self._settlers() - entities.keys()
        require(not missing, "I4", f"entities {sorted(missing)[:5]} are nowhere")
        self.checks["I4"] += len(entities) + len(players)

    def _settlers(self) -> set[int]:
        """Ids of the entities that were there from the first tick on; they live for ever."""
        if not self._born:
            for shard in range(len(self.lineage.shards)):
                core = ShardCore(self.lineage.contract, self.lineage.title, shard)
                core.setup()
                self._born.update(i for table in core.shard.tables for i in table.ids.tolist())
        return {i for i in self._born if self.lineage.shards[self.lineage.birthplace(i)].entries}

    def check_health(self, bots: list[Bot], silent_s_max: float = 1.0) -> None:
        """Everybody plays and is shown new ticks."""
        now = asyncio.get_running_loop().time()
        for bot in bots:
            require(bot.playing, "I9", f"bot {bot.number} does not play: {bot.session.state}, {bot.session.verdict}")
            silent_s = now - bot.last_frame_s
            require(silent_s < silent_s_max, "I9", f"bot {bot.number} has heard nothing for {silent_s:.1f} s")
            self.checks["I9"] += 1


def picture_of(mirror: Mirror, shard: int) -> Picture:
    """What a mirror holds of a shard, by held cell."""
    assert mirror.contract is not None
    cells: dict[int, set[tuple[int, ...]]] = {c: set() for c in mirror.cells if mirror.contract.shard_of(c) == shard}
    for kind, entity, cell, *values in mirror.picture(shard):
        cells[cell].add((kind, entity, *values))
    return {cell: frozenset(rows) for cell, rows in cells.items()}
