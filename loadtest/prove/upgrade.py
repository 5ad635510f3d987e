"""[upgrade] The runbook's upgrade, step by step, under players, watched by a real Prometheus through the dashboards.

The steps are those of `## Upgrade` in deploy/runbook.md, by their names and in their order. Required: what
[rolling-restart] requires (no socket is closed while workers are replaced, every avatar is kept, pictures and inputs
are right, the next version runs all shards in the end); no query of any panel fails, before, during and after; every
panel that shows more than rare events has data during and after; Prometheus reaches every process again, and when all
is over no alert's condition holds but for those of the clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loadtest.cluster import Cluster, Node, Shape
from loadtest.machine import REPOSITORY
from loadtest.panels import Panel, Watch, panels, quiet
from loadtest.prove import rolling_restart
from loadtest.prove.proof import Proof
from loadtest.prove.rolling_restart import NEXT_TITLE, Times, exchange
from loadtest.prove.seamless import COUNT_AFTER_S, TITLE
from loadtest.trial import Trial
from loadtest.worlds import world_of
from tests.parts.prometheus import Prometheus
from tools.alert_rules import ALERTS, OF_THE_CLOCK

RUNBOOK = REPOSITORY / "deploy" / "runbook.md"
STEP = re.compile(r"^\d+\. \*\*(.+?)\.?\*\*", re.MULTILINE)
ALERT = "alert"
WHENS = ("before", "during", "after")
LOOK_S = 3.0
"""From one look at all panels to the next."""
ALWAYS = (
    Panel("own / Processes that answer", "sum(up)"),
    Panel("own / Versions", "sum by (role, title_version) (overworld_process)"),
    Panel("own / Players", "sum(overworld_players_online)"),
    Panel("own / Sockets", "sum(overworld_gateway_sockets)"),
    Panel("own / Entities", "sum(overworld_entities)"),
    Panel("own / Shards run", 'sum(overworld_shards_owned{phase="running"})'),
    Panel("own / Tick p99", "histogram_quantile(0.99, sum by (le) (rate(overworld_tick_seconds_bucket[15s])))"),
    Panel(
        "own / Append p99", "histogram_quantile(0.99, sum by (le) (rate(overworld_journal_append_seconds_bucket[15s])))"
    ),
    Panel("own / Frames a second", "sum(rate(overworld_gateway_frames_total[15s]))"),
)
"""Asked beside the dashboards' panels; the first one is read by this proof."""


@dataclass(frozen=True)
class Options:
    """`rest_s`: play between two replacements; `watch_s`: before the first and after the last."""

    bots: int = 300
    workers: int = 4
    gateways: int = 2
    rest_s: float = 2.0
    watch_s: float = 15.0
    shards: str = "4x4"
    seed: int = 1


def run(proof: Proof, options: Options) -> None:
    """Upgrade, then check."""
    with tempfile.TemporaryDirectory(prefix="overworld-upgrade-") as folder:
        trial, times, watch = asyncio.run(play(proof, options, Path(folder)))
        check(proof, options, trial, times, watch)


def steps() -> list[str]:
    """Names of the runbook's steps of an upgrade."""
    text = RUNBOOK.read_text().split("\n## Upgrade\n")[1].split("\n## ")[0]
    return STEP.findall(text)


class Upgrade:
    """What the steps are on local processes."""

    def __init__(self, proof: Proof, options: Options, trial: Trial, watch: Watch) -> None:
        self.proof, self.options, self.trial, self.watch = proof, options, trial, watch
        self.times = Times()

    async def look(self) -> None:
        """Quiet times, for comparison."""
        await self.trial.play(self.options.watch_s)
        await self.watch.look("before")

    async def workers(self) -> None:
        """One by one, each new one ready before the next is stopped."""
        began_s, counted_s = time.monotonic(), time.time()
        self.trial.later["2"] = world_of(replace(self.trial.shape, title=NEXT_TITLE))
        await self._each(self.trial.cluster.workers)
        self.times.workers_s = began_s, time.monotonic()
        self.times.counted_s = counted_s + COUNT_AFTER_S, 0.0

    async def gateways(self) -> None:
        """Last: they understand both versions' workers until then."""
        await self._each(self.trial.cluster.gateways)

    async def look_again(self) -> None:
        """Until it is as it was."""
        await self.trial.all_play()
        await self.trial.play(self.options.watch_s)
        await self.watch.look("after")
        self.times.counted_s = self.times.counted_s[0], time.time() - COUNT_AFTER_S

    async def _each(self, nodes: list[Node]) -> None:
        """Replace processes by those of the next version, with all panels watched meanwhile."""
        watching = asyncio.create_task(self.watch.go_on("during", LOOK_S))
        try:
            for node in nodes:
                node.process.env["OVERWORLD_TITLE"] = NEXT_TITLE
                await exchange(self.proof, self.trial, node, self.options.rest_s)
                await self.trial.all_play()
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching


STEPS: dict[str, Callable[[Upgrade], Awaitable[None]]] = {
    "Look": Upgrade.look,
    "Workers": Upgrade.workers,
    "Gateways": Upgrade.gateways,
    "Look again": Upgrade.look_again,
}
"""By the names that the runbook gives them."""


async def play(proof: Proof, options: Options, folder: Path) -> tuple[Trial, Times, Watch]:
    """One cluster, one upgrade."""
    shape = Shape(
        workers=options.workers, gateways=options.gateways, title=TITLE, shards=options.shards, seed=options.seed,
        audit_ticks=100,
    )  # fmt: skip
    async with Trial(folder, shape, options.bots, light=True, say=proof.say) as trial:
        prometheus = Prometheus(folder / "prometheus", targets(trial.cluster))
        await prometheus.start()
        try:
            upgrade = Upgrade(proof, options, trial, Watch(prometheus, [*ALWAYS, *panels(), *alerts()]))
            names = steps()
            assert names == list(STEPS), f"the runbook's steps are {names}, this proof's {list(STEPS)}"
            for name in names:
                proof.say(f"runbook, Upgrade: {name}")
                await STEPS[name](upgrade)
        finally:
            prometheus.stop()
        await trial.leave()
        await trial.finish()
    return trial, upgrade.times, upgrade.watch


def alerts() -> list[Panel]:
    """The alerts' conditions, without how long they must hold."""
    return [Panel(f"{ALERT} / {alert.name}", alert.query) for alert in ALERTS]


def targets(cluster: Cluster) -> dict[str, str]:
    """Addresses of /metrics, by process."""
    return {node.name: f"{node.host}:{node.internal_port}" for node in cluster.nodes}


def check(proof: Proof, options: Options, trial: Trial, times: Times, watch: Watch) -> None:
    """Everything that must hold."""
    like = rolling_restart.Options(bots=options.bots, shards=options.shards, upgrade=True)
    rolling_restart.check(proof, like, trial, times)
    check_panels(proof, watch, len(trial.cluster.nodes))


def check_panels(proof: Proof, watch: Watch, processes: int) -> None:
    """Print what the panels showed, and require what they must."""
    table: dict[str, dict[str, Any]] = {}
    true: dict[str, list[str]] = {}
    for shown in watch.shown:
        row = {when: shown.span(when) for when in WHENS}
        proof.require(not shown.failed, f"{shown.panel.name}: {shown.failed[:1]}")
        if shown.panel.name.startswith(ALERT):
            true |= {shown.panel.name: [when for when, span in row.items() if span]} if shown.has_data else {}
            continue
        table[shown.panel.name] = {**row, "series": shown.series}
        cells = "".join(f"{_told(span):>22}" for span in row.values())
        proof.say(f"{shown.panel.name:54}{cells}{shown.series:>5}")
        empty = [when for when, span in row.items() if span is None and when != "before"]
        proof.require(not empty or quiet(shown.panel), f"{shown.panel.name} had no data {empty}: {shown.panel.expr}")
    slow = {f"{ALERT} / {name}" for name in OF_THE_CLOCK}
    left = [name for name, whens in true.items() if "after" in whens and name not in slow]
    proof.require(not left, f"when all was over, conditions held of {left}")
    up = watch.shown[0]
    proof.require(up.span("after") == [processes] * 2, f"of {processes} processes {up.span('after')} were scraped")
    proof.figure("looks_at_all_panels", watch.rounds)
    proof.figure("queries_failed", sum(len(shown.failed) for shown in watch.shown))
    proof.figure("panels_without_data", [name for name, row in table.items() if not row["series"]])
    proof.figure("alerts_whose_condition_held", true)
    proof.figure("panels", table)


def _told(span: list[float] | None) -> str:
    if span is None:
        return "-"
    low, high = (f"{value:.4g}" for value in span)
    return low if low == high else f"{low} to {high}"
