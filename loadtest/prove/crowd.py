"""[crowd] A thousand ships in one view, and a budget that does not cover them.

Drones and players' ships crowd into two by two cells, every one within everybody's view, and take a new heading
every 0.2 to 0.4 s. Gateways give each client `budget` bytes a second. Every client's bytes are counted as it
got them; the pictures of some are compared, row by row and tick by tick, with the replay of the journal. Required:
whatever a client shows of a ship is what the server had at that ship's last record, moved on; the nearest 30 are exact
at every tick; no ship is older than a second; the budget holds within 5 %.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loadtest.cluster import Shape
from loadtest.figures import percentiles
from loadtest.history import BotHistory, Event
from loadtest.journal import replay
from loadtest.metrics import Metrics
from loadtest.pictures import check_pictures
from loadtest.prove.proof import Proof
from loadtest.trial import Trial

SETTLE_S = 4.0
"""After the last has joined: what follows is measured."""
WINDOW_US, WINDOW_STEP_US = 1_000_000, 250_000
OVER_PART = 1.05


@dataclass(frozen=True)
class Options:
    """`checked`: how many bots' pictures are compared. `nearest`: how many ships must be exact at every tick."""

    title: str = "loadtest.throng:Throng"
    bots: int = 100
    seconds: float = 20.0
    budget: int = 16384
    checked: int = 6
    nearest: int = 30
    seed: int = 1


@dataclass
class Run:
    """What was measured between two times (microseconds of the monotonic clock). `short`: viewers whose budget did not
    cover all they see, at the beginning and the end.
    """

    from_us: int
    until_us: int
    gateway_cpu_s: float
    worker_cpu_s: float
    short: tuple[int, int]
    gateway: Metrics
    worker: Metrics


def run(proof: Proof, options: Options) -> None:
    """Play, then check."""
    with tempfile.TemporaryDirectory(prefix="overworld-crowd-") as folder:
        trial, measured = asyncio.run(_play(proof, options, Path(folder)))
        _costs(proof, options, measured)
        histories = trial.histories()
        _budget(proof, options, histories, measured)
        _pictures(proof, options, trial, histories, measured)


async def _play(proof: Proof, options: Options, folder: Path) -> tuple[Trial, Run]:
    shape = Shape(
        workers=1, gateways=1, title=options.title, seed=options.seed,
        gateway_env={"OVERWORLD_GATEWAY_CLIENT_BYTES_PER_S": str(options.budget)},
    )  # fmt: skip
    async with Trial(folder, shape, options.bots, brain="idle", light=True, say=proof.say) as trial:
        await trial.play(SETTLE_S)
        gateway, worker = trial.cluster.gateways[0], trial.cluster.workers[0]
        nodes = (gateway, worker)
        before = [(node.process.cpu_s(), node.metrics()) for node in nodes]
        from_us = time.monotonic_ns() // 1000
        await trial.play(options.seconds)
        until_us = time.monotonic_ns() // 1000
        after = [(node.process.cpu_s(), node.metrics()) for node in nodes]
        await trial.leave()
        await trial.finish()
    cpu_s = [b[0] - a[0] for a, b in zip(before, after, strict=True)]
    metrics = [b[1].since(a[1]) for a, b in zip(before, after, strict=True)]
    began, ended = (int(scraped[0][1].total("overworld_gateway_short_viewers")) for scraped in (before, after))
    return trial, Run(from_us, until_us, cpu_s[0], cpu_s[1], (began, ended), metrics[0], metrics[1])


def _costs(proof: Proof, options: Options, measured: Run) -> None:
    seconds = (measured.until_us - measured.from_us) / 1e6
    frames = measured.gateway.total("overworld_gateway_frames_total")
    proof.figure("bots", options.bots)
    proof.figure("frames_per_bot_second", frames / options.bots / seconds)
    proof.figure("gateway_us_per_frame", measured.gateway_cpu_s * 1e6 / max(1.0, frames))
    proof.figure("gateway_cpu_part", measured.gateway_cpu_s / seconds)
    proof.figure("worker_cpu_part", measured.worker_cpu_s / seconds)
    proof.figure("tick_ms_p50", 1000 * (measured.worker.quantile("overworld_tick_seconds", 0.5) or 0.0))
    held = measured.gateway.total("overworld_gateway_held_back_bytes_total") / options.bots / seconds
    proof.figure("viewers_short_at_begin_and_end", list(measured.short))
    proof.figure("held_back_bytes_per_bot_second", held)
    pieces = {
        labels["level"]: round(value / seconds)
        for value, labels in measured.gateway.each("overworld_gateway_stream_pieces_total")
    }
    proof.figure("pieces_joined_per_second_by_period", pieces)
    proof.figure("over_budget_part", measured.gateway.total("overworld_gateway_over_budget_total") / max(1.0, frames))


def _budget(proof: Proof, options: Options, histories: list[BotHistory], measured: Run) -> None:
    means, windows = [], []
    for history in histories:
        came = [e for e in history.of(Event.FRAME) if measured.from_us <= e.time_us < measured.until_us]
        times = np.array([e.time_us for e in came])
        # With the 4 bytes that a websocket puts before a message of this size.
        total = np.concatenate(([0], np.cumsum([len(e.body) + 4 for e in came])))
        means.append(float(total[-1]) / ((measured.until_us - measured.from_us) / 1e6))
        starts = np.arange(measured.from_us, measured.until_us - WINDOW_US, WINDOW_STEP_US)
        begin, end = np.searchsorted(times, starts), np.searchsorted(times, starts + WINDOW_US)
        windows += (total[end] - total[begin]).tolist()
    proof.figure("budget_bytes_per_s", options.budget)
    proof.figure("bytes_per_bot_second", percentiles(means))
    proof.figure("bytes_in_any_second", percentiles(windows))
    worst = max(means) / options.budget
    proof.require(worst <= OVER_PART, f"a client got {worst:.1%} of its budget")


def _pictures(proof: Proof, options: Options, trial: Trial, histories: list[BotHistory], measured: Run) -> None:
    replayed = replay(trial.contract, trial.title, trial.lineage(0))
    proof.require(not replayed.faults, f"the journal does not replay: {replayed.faults[:3]}")
    proof.figure("digests_compared", replayed.digests_compared)
    step = max(1, len(histories) // options.checked)
    chosen = histories[::step][: options.checked]
    found = check_pictures(chosen, replayed.truth, 0, options.nearest, measured.from_us, measured.until_us)
    ships = found.rows / max(1, found.frames)
    proof.figure("pictures_compared", found.frames)
    proof.figure("ships_in_view", ships)
    proof.figure("rows_not_exact_part", percentiles(found.rows_behind))
    proof.figure("oldest_row_ticks", percentiles([float(age) for age in found.ages_ticks]))
    proof.figure("nearest_not_exact", found.nearest_behind)
    proof.figure("nearest_looked_at", found.nearest)
    for text in found.examples:
        proof.say(text)
    hz = trial.contract.grid.tick_hz
    proof.require(found.frames > 0, "no picture was compared")
    proof.require(not found.wrong_rows, f"{found.wrong_rows} rows are nothing the server ever had")
    proof.require(not found.wrong_ids, f"{found.wrong_ids} pictures lack ships or have too many")
    oldest = max(found.ages_ticks, default=0)
    proof.require(oldest <= hz, f"a ship was not told for {oldest} ticks")
    proof.require(not found.nearest_behind, f"{found.nearest_behind} of the nearest ships were behind")
