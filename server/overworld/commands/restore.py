"""`overworld restore`: brings a stopped world back as it was, and tells exactly what it does."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from overworld.errors import FormatTooNew, SettingsError
from overworld.shard.core import ShardCore
from overworld.store.archive import Archive
from overworld.store.ports import Ownership
from overworld.store.snapshots import SnapshotStore
from overworld.worker.cuts import Source, check_alone, fitting
from overworld.worker.history import History
from overworld.worker.moments import Moment, iso
from overworld.worker.restoring import Outcome, Plan, Restorer, live_owners, plan

EXIT_DONE, EXIT_REFUSED = 0, 2

Say = Callable[[str], object]


@dataclass(frozen=True)
class RestoreOptions:
    """`watch_s`: how long an owner must be silent to count as dead."""

    at: Moment
    shards: Sequence[int]
    branch: str = ""
    force: bool = False
    dry_run: bool = False
    watch_s: float = 2.0


@dataclass(frozen=True)
class RestoreStores:
    """Where the world is kept."""

    ownership: Ownership
    shelf: SnapshotStore
    archive: Archive


async def restore(
    stores: RestoreStores, new_core: Callable[[int], ShardCore], options: RestoreOptions, tell: Say
) -> int:
    """Plan for all shards, then do it. Returns the exit code: 2 where owners live and `force` was not given.

    Raises NotKept, Corrupt, DivergenceError, StoreError.
    """
    if options.at.tick is None and options.at.wall_ms > time.time() * 1000:
        raise SettingsError(f"--at: {options.at} has not come yet")
    live = await live_owners(stores.ownership, options.shards, options.watch_s)
    for shard, head in live.items():
        tell(f"shard {shard} is run by {head.address} (epoch {head.epoch}, tick {head.tick} and moving)")
    count = len(options.shards)
    if live and not options.force and not options.dry_run:
        tell(f"refused: {len(live)} of {count} shards have a live owner; stop the workers, or say --force")
        return EXIT_REFUSED
    plans = await _plans(stores, new_core, options, tell)
    if options.dry_run:
        tell("dry run: nothing was changed")
        return EXIT_DONE
    restorer = Restorer(stores.ownership, stores.shelf, stores.archive)
    await restorer.restore(plans, force=options.force, done=lambda outcome: tell(_done(outcome)))
    tell(f"restored {len(plans)} of {count} shards and gave them back: workers take them over when they next look")
    return EXIT_DONE


async def _plans(
    stores: RestoreStores, new_core: Callable[[int], ShardCore], options: RestoreOptions, tell: Say
) -> list[Plan]:
    """A plan for each shard, and all fit together."""
    sources = {
        shard: Source(
            History(shard, stores.archive, stores.shelf, stores.ownership), functools.partial(new_core, shard)
        )
        for shard in options.shards
    }
    try:
        plans = [await plan(s.history, options.at, options.branch, s.new_core) for s in sources.values()]
        if any(len(sources) < made.core.contract.grid.shard_count for made in plans):
            for made in plans:
                await check_alone(sources[made.shard], made)
        cut = await fitting(sources, plans)
    except FormatTooNew as error:
        raise FormatTooNew(f"{error} (a restore replays with the version that wrote the records)") from error
    for made in cut.plans.values():
        _tell_plan(made, tell)
    for shard, tick in cut.moved.items():
        tell(f"shard {shard}: not tick {tick}: it had applied messages then that the others had not sent yet")
    waiting = sum(len(messages) for made in cut.plans.values() for messages in made.mail.values())
    if waiting:
        tell(f"{waiting} messages between the shards were on their way then, and will arrive")
    if cut.lost:
        tell(f"{cut.lost} messages between the shards are kept nowhere: what was in them is lost")
    return list(cut.plans.values())


def _tell_plan(made: Plan, tell: Say) -> None:
    shard = made.shard
    track = made.place.track
    way = "" if track.current else f" of branch {track.name}, which was given up,"
    back_to = f"tick {made.tick}{way} of {iso(made.place.wall_ms) if made.tick else 'its beginning'}"
    players = made.core.shard.players
    entities = sum(len(table) for table in made.core.shard.tables)
    current = made.head.tick if made.head is not None else 0
    tell(
        f"shard {shard}: from tick {current} to {back_to}: {entities} entities, "
        f"{int(players.inside.sum())} players inside, digest {made.core.digest().hex()} "
        f"(replayed {made.replayed_ticks} ticks from {made.source})"
    )


def _done(outcome: Outcome) -> str:
    given_up = outcome.from_tick - outcome.tick
    kept = f", {outcome.archived_records} of them only now" if outcome.archived_records else ""
    what = f"ticks {outcome.tick + 1} to {outcome.from_tick} are a branch of the archive{kept}"
    return (
        f"shard {outcome.shard}: restored at tick {outcome.tick} under epoch {outcome.epoch}"
        + (f"; {what}" if given_up > 0 else "")
    )  # fmt: skip
