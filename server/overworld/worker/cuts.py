"""Ticks of several shards that fit together, so that a world can be brought back to them.

Shards count their ticks apart and clocks differ, so ticks "at the same time" may cut through a journey: a receiver that
has applied what its sender has not sent yet would have the traveller twice. Such a receiver goes further back, to the
tick before; others may have to follow it, until no shard has applied more than was sent. What was sent and not applied
then is on its way: those messages are made again by running the sender's journal, and go into its outbox.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from overworld.errors import NotKept, SettingsError
from overworld.shard.core import ShardCore
from overworld.store.ports import OutboxMessage
from overworld.worker.history import CURRENT, History
from overworld.worker.moments import Moment
from overworld.worker.receipts import mended, sent
from overworld.worker.records import outbox_messages
from overworld.worker.restoring import Plan, plan

ROUNDS_MAX = 1000


@dataclass(frozen=True)
class Source:
    """Where one shard's plan came from."""

    history: History
    new_core: Callable[[], ShardCore]


@dataclass(frozen=True)
class Cut:
    """Plans that fit together, by shard. `moved`: ticks that were asked for, of shards that had to go further back.
    `lost`: messages on their way that are kept nowhere.
    """

    plans: dict[int, Plan]
    moved: dict[int, int]
    lost: int


async def fitting(sources: dict[int, Source], plans: Iterable[Plan]) -> Cut:
    """Lower ticks until they fit, and find what was on its way. Writes nothing. Raises as `restoring.plan`."""
    fit = {made.shard: made for made in plans}
    asked = {shard: made.tick for shard, made in fit.items()}
    for _ in range(ROUNDS_MAX):
        lower = ahead(fit.values())
        if not lower:
            break
        for shard, tick in lower.items():
            track = fit[shard].place.track
            branch = CURRENT if track.current else track.chain.hex()
            fit[shard] = await plan(sources[shard].history, Moment(tick=tick), branch, sources[shard].new_core)
    else:
        raise NotKept(f"no ticks of shards {sorted(fit)} that fit together were found in {ROUNDS_MAX} rounds")
    lost = 0
    for shard, made in fit.items():
        mail, missing = await on_its_way(sources[shard], made, fit)
        fit[shard] = replace(made, mail=mail)
        lost += missing
    return Cut(fit, {shard: tick for shard, tick in asked.items() if fit[shard].tick != tick}, lost)


def ahead(plans: Iterable[Plan]) -> dict[int, int]:
    """The ticks to which shards must go back that have applied what was not sent yet. Pure."""
    by_shard = {made.shard: made for made in plans}
    lower: dict[int, int] = {}
    for to_shard, receiver in by_shard.items():
        for from_shard, sender in by_shard.items():
            last = sent(sender.core).get(to_shard, 0)
            if receiver.core.received(from_shard) > last:
                # Applied before its replay began: the state that it began at has it already.
                applied = receiver.applied.get((from_shard, last + 1), receiver.from_tick)
                lower[to_shard] = min(lower.get(to_shard, applied - 1), applied - 1)
    if any(tick < 0 for tick in lower.values()):
        raise NotKept(f"shards {sorted(lower)} have applied messages that were never sent, from their first tick on")
    return lower


async def check_alone(source: Source, made: Plan) -> None:
    """Some shards are restored and others stay as they are: only if no mail passed between them and this one since.
    Raises SettingsError where it did.
    """
    head = made.head
    if head is None or head.tick <= made.tick:
        return
    now = await plan(source.history, Moment(tick=head.tick), CURRENT, source.new_core)
    others = _counters(now.core).items() ^ _counters(made.core).items()
    if others:
        shards = sorted({shard for shard, _ in others})
        raise SettingsError(
            f"shard {made.shard}: since tick {made.tick} it has had mail from or for shards {shards}: restore all "
            f"shards together, or what went between them would be lost or there twice"
        )


def _counters(core: ShardCore) -> dict[int, tuple[int, int]]:
    neighbours = core.shard.neighbours
    columns = (neighbours.ids.tolist(), neighbours.sent.tolist(), neighbours.received.tolist())
    return {shard: (sent, received) for shard, sent, received in zip(*columns, strict=True)}


async def on_its_way(source: Source, made: Plan, plans: dict[int, Plan]) -> tuple[dict[int, list[OutboxMessage]], int]:
    """What a shard has sent and its receivers have not applied, by receiver; and how many of those are kept nowhere.

    `plans`: of all shards, by shard.
    """
    spans = {
        to_shard: (plans[to_shard].core.received(made.shard) + 1, last)
        for to_shard, last in sent(made.core).items()
        if to_shard in plans and plans[to_shard].core.received(made.shard) < last
    }
    found = {(m.to_shard, m.number): m for m in made.sent}
    at = made.from_tick
    while at > 0 and not all((to_shard, first) in found for to_shard, (first, _) in spans.items()):
        # Sent before the state that the plan began at: run what led there as well.
        earlier, at = await _sent_before(source, made, at)
        found |= {(m.to_shard, m.number): m for m in earlier}
    mail, lost = {}, 0
    for to_shard, (first, last) in spans.items():
        known = {n: found[to_shard, n] for n in range(first, last + 1) if (to_shard, n) in found}
        mail[to_shard], _ = mended(known, made.shard, to_shard, last, made.tick)
        lost += last + 1 - first - len(known)
    return mail, lost


async def _sent_before(source: Source, made: Plan, before_tick: int) -> tuple[Sequence[OutboxMessage], int]:
    """The messages of some ticks up to one, and the tick after which they were sent; nothing where those ticks are kept
    nowhere.
    """
    try:
        track, found = await source.history.start(made.place.track, before_tick - 1, source.new_core)
        follower, from_tick = found.follower, found.follower.tick
        messages: list[OutboxMessage] = []
        async for entry in source.history.entries(track, from_tick, before_tick):
            messages += outbox_messages(follower.apply(entry))
    except NotKept:
        return (), 0
    return messages, from_tick
