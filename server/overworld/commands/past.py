"""`overworld archive`: what is kept of a world's past, shard by shard and branch by branch."""

from __future__ import annotations

from collections.abc import Callable

from overworld.errors import NotKept
from overworld.worker.history import History, Track
from overworld.worker.moments import iso

Say = Callable[[str], object]


async def show_past(history: History, show: Say) -> None:
    """Tell what can be replayed and restored. Reads names, and one or two records a branch."""
    shard = history.shard
    try:
        await history.look()
    except NotKept as error:
        show(str(error))
        return
    for track in history.tracks:
        ticks = f"ticks {track.after_tick + 1} to {track.tick}" if track.tick > track.after_tick else "no ticks"
        fork = await history.fork(track, history.current) if not track.current else 0
        what = "current" if track.current else f"left the current branch after tick {fork}" if fork else "on its own"
        show(f"shard {shard}  branch {track.name}  {ticks}  {await _times(history, track)}  {what}")
    if history.states:
        newest = max(history.states, key=lambda state: state.wall_ms)
        show(f"shard {shard}  {len(history.states)} states, the newest of tick {newest.tick}, {iso(newest.wall_ms)}")
    for restored in await history.restores():
        show(
            f"shard {shard}  restored at {iso(restored.wall_ms)} to tick {restored.tick} as epoch {restored.epoch}; "
            f"gave up branch {restored.from_chain[:8]} at tick {restored.from_tick}"
        )


async def _times(history: History, track: Track) -> str:
    if track.tick <= track.after_tick:
        return "-"
    first = await history.wall_ms(track, track.after_tick + 1)
    return f"{iso(first)} to {iso(await history.wall_ms(track, track.tick))}"
