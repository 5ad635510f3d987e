"""Does what clients saw equal what was true? Frames are played back through the reference client's mirror.

Checked at every bag with a head, for each shard it is about: the whole picture of all held cells of that shard, field
by field, where the truth of that tick is known; and that (epoch, tick) of each shard only grows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from loadtest.history import BotHistory, Event
from loadtest.truth import Truth, differences
from overworld.client.mirror import Mirror
from overworld.errors import WireError
from overworld.wire.v1 import client_pb2 as pb
from overworld.world.grid import Grid

EXAMPLES_MAX = 10


@dataclass
class Comparison:
    """What a comparison came to. `comparisons` counts pictures of one shard's held cells at one tick."""

    comparisons: int = 0
    entities: int = 0
    fields: int = 0
    cells: int = 0
    owns: int = 0
    """Times that a bot was told what only it may see of its avatar, and that was compared."""
    whole_views: int = 0
    """Pictures whose cells, over all shards, are exactly the view from the avatar's cell or one beside it."""
    whole_bots: set[int] = field(default_factory=set)
    """Bots that had the whole view at least once."""
    frames: int = 0
    frame_bytes: int = 0
    heads: int = 0
    unknown_ticks: int = 0
    """Heads of ticks for which no truth is known."""
    mismatches: int = 0
    order_broken: int = 0
    epoch_broken: int = 0
    rule_broken: int = 0
    bots: set[int] = field(default_factory=set)
    """Bots with at least one comparison of at least one entity."""
    seen: set[tuple[int, int, int]] = field(default_factory=set)
    """(shard, epoch, tick) that any bot was shown."""
    missing: set[tuple[int, int, int]] = field(default_factory=set)
    """(shard, epoch, tick) that a bot saw and the truth does not have."""
    gaps_ms: list[float] = field(default_factory=list)
    """Time between two ticks of a shard as one bot got them on one socket, while it was in its view."""
    examples: list[str] = field(default_factory=list)

    def add(self, other: Comparison) -> None:
        """Take in another part's counts."""
        for name, value in vars(other).items():
            mine = getattr(self, name)
            if isinstance(mine, int):
                setattr(self, name, mine + value)
            elif isinstance(mine, set):
                mine |= value
            else:
                mine += value if name == "gaps_ms" else value[: EXAMPLES_MAX - len(mine)]

    def tell(self, text: str) -> None:
        """Keep an example of what went wrong."""
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(text)

    @property
    def clean(self) -> bool:
        """Nothing differed, and something was compared."""
        wrong = self.mismatches + self.order_broken + self.epoch_broken + self.rule_broken
        return wrong == 0 and self.entities > 0 and self.fields > 0


def compare(histories: Iterable[BotHistory], truths: Mapping[int, Truth]) -> Comparison:
    """Play every bot's history back and compare what it saw of the shards in `truths`."""
    result = Comparison()
    for history in histories:
        _compare_bot(history, truths, result)
    return result


def _compare_bot(history: BotHistory, truths: Mapping[int, Truth], result: Comparison) -> None:
    mirror = Mirror()
    highest: dict[int, tuple[int, int]] = {}
    came_us: dict[int, int] = {}
    sound = True
    for entry in history.entries:
        if entry.event is Event.CONNECT:
            # A new socket starts a new picture; what was seen before stays seen.
            mirror, sound = Mirror(), True
            came_us.clear()
        if entry.event is not Event.FRAME or not sound:
            continue
        result.frames += 1
        result.frame_bytes += len(entry.body)
        try:
            frame = mirror.parse(entry.body)
            fresh = mirror.apply(frame)
        except WireError as error:
            result.rule_broken += 1
            result.tell(f"bot {history.bot}: {error}")
            sound = False
            continue
        if fresh and len(frame.heads) == 1 and frame.owns:
            _compare_owns(history.bot, frame, truths, result)
        for head in frame.heads:
            at = (head.epoch, head.tick)
            if at <= highest.get(head.shard, (0, 0)) or not fresh:
                result.order_broken += 1
                result.tell(f"bot {history.bot}: shard {head.shard} {at} after {highest.get(head.shard)}")
                continue
            highest[head.shard] = at
            if head.shard in came_us:
                result.gaps_ms.append((entry.time_us - came_us[head.shard]) / 1000)
            came_us[head.shard] = entry.time_us
            if head.shard in truths:
                _compare_picture(history.bot, mirror, head.shard, at, truths[head.shard], result)
        if came_us and any(view.left for view in frame.views):
            _forget_unseen(came_us, mirror)


def _forget_unseen(came_us: dict[int, int], mirror: Mirror) -> None:
    """A shard that went out of view is silent for no fault: its next tick ends no gap."""
    contract = mirror.contract
    assert contract is not None
    held = {contract.shard_of(cell) for cell in mirror.cells}
    for shard in came_us.keys() - held:
        del came_us[shard]


def _compare_owns(bot: int, frame: pb.Frame, truths: Mapping[int, Truth], result: Comparison) -> None:
    """What only the owner may see, as of the bag's tick."""
    head = frame.heads[0]
    truth = truths.get(head.shard)
    if truth is None or head.tick not in truth.owns or truth.epochs.get(head.tick, head.epoch) != head.epoch:
        return
    for own in frame.owns:
        if not own.entity:
            continue
        result.owns += 1
        wanted = truth.owns[head.tick].get((own.kind, own.entity))
        if wanted != tuple(own.values):
            result.mismatches += 1
            result.tell(f"bot {bot}, shard {head.shard}, tick {head.tick}: owns {tuple(own.values)}, wanted {wanted}")


def _compare_picture(
    bot: int, mirror: Mirror, shard: int, at: tuple[int, int], truth: Truth, result: Comparison
) -> None:
    epoch, tick = at
    contract = mirror.contract
    assert contract is not None
    result.heads += 1
    result.seen.add((shard, epoch, tick))
    if tick not in truth.ticks:
        result.unknown_ticks += 1
        result.missing.add((shard, epoch, tick))
        return
    if truth.epochs.get(tick, epoch) != epoch:
        # Its tick was lost, and another came about in its place.
        result.epoch_broken += 1
        result.missing.add((shard, epoch, tick))
        result.tell(f"bot {bot}: shard {shard} tick {tick} seen at epoch {epoch}, committed at {truth.epochs[tick]}")
        return
    held = frozenset(cell for cell in mirror.cells if contract.shard_of(cell) == shard)
    seen, wanted = mirror.picture(shard), truth.seen(tick, held)
    result.comparisons += 1
    if _whole_view(mirror, truth.contract.grid):
        result.whole_views += 1
        result.whole_bots.add(bot)
    result.cells += len(held)
    result.entities += len(wanted)
    result.fields += sum(map(len, wanted)) - len(wanted)
    if wanted:
        result.bots.add(bot)
    if not truth.same(seen, wanted):
        result.mismatches += 1
        names = {i: kind.columns for i, kind in enumerate(contract.kinds)}
        for text in differences(seen, wanted, names):
            result.tell(f"bot {bot}, shard {shard}, epoch {epoch}, tick {tick}: {text}")


def _whole_view(mirror: Mirror, grid: Grid) -> bool:
    """Without an avatar in view there is no telling: counts as not whole."""
    own = mirror.own()
    if own is None:
        return False
    cy, cx = divmod(own.cell, grid.cells_x)
    held = mirror.cells
    return any(
        held == set(grid.view_of(y * grid.cells_x + x))
        for y in range(max(0, cy - 1), min(grid.cells_y, cy + 2))
        for x in range(max(0, cx - 1), min(grid.cells_x, cx + 2))
        if len(grid.view_of(y * grid.cells_x + x)) == len(held)
    )


@dataclass
class Traffic:
    """How much came to a bot in a second."""

    bytes_per_bot_second: float = 0.0
    frames_per_bot_second: float = 0.0


def traffic(histories: Iterable[BotHistory]) -> Traffic:
    """Means over all bots and the time from their first to their last frame."""
    total, frames, seconds = 0, 0, 0.0
    for history in histories:
        came = history.of(Event.FRAME)
        total += sum(len(e.body) for e in came)
        frames += len(came)
        seconds += (came[-1].time_us - came[0].time_us) / 1e6 if came else 0.0
    return Traffic(total / seconds, frames / seconds) if seconds else Traffic()


def endings(histories: Iterable[BotHistory]) -> Counter[str]:
    """How the bots ended, other than by themselves: "closed 4010 silent", "failed ...", with how often."""
    found: Counter[str] = Counter()
    for history in histories:
        for entry in history.entries:
            if entry.event in (Event.CLOSED, Event.FAILED):
                found[f"{entry.event.name.lower()} {entry.body.decode(errors='replace')}"] += 1
    return found
