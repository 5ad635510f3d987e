"""What the terminal shows while a run goes on: a table that is redrawn, or a line every few seconds where it is no
terminal.
"""

from __future__ import annotations

from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from loadtest.swarm import measures
from loadtest.swarm.gathered import Gathered, Window
from loadtest.swarm.scenario import Scenario
from loadtest.swarm.target import Watcher

LINE_EVERY_S = 5.0
LAST_S = 5


class Screen:
    """For the length of a run."""

    def __init__(self, scenario: Scenario, console: Console) -> None:
        self._scenario, self._console = scenario, console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._told_s = -LINE_EVERY_S
        self._drawn = -1

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, second: float, gathered: Gathered, watcher: Watcher) -> None:
        """What there is now: `run`'s `told`."""
        if int(second) == self._drawn:
            return
        self._drawn = int(second)
        rows = self._rows(second, gathered, watcher)
        if self._live is not None:
            table = Table(show_header=False, box=None, title=f"{self._scenario.name}, {second:.0f} s")
            for name, value in rows.items():
                table.add_row(name, value)
            self._live.update(table, refresh=True)
        elif second - self._told_s >= LINE_EVERY_S:
            self._told_s = second
            line = ", ".join(f"{name} {value}" for name, value in rows.items())
            self._console.print(f"{second:4.0f} s  {line}", highlight=False, soft_wrap=True)

    def _rows(self, second: float, gathered: Gathered, watcher: Watcher) -> dict[str, str]:
        last = Window()
        for at, window in gathered.windows.items():
            if at >= second - LAST_S:
                last.add(window)
        gap, ack = (measures.summary(measures.hdr(last.times[name])) for name in ("gap", "ack"))
        findings = gathered.findings
        faults = {name: count for name, count in findings.faults.items() if count}
        rows = {
            "playing": f"{gathered.playing} of {self._scenario.count}",
            "interval": f"p50 {gap['p50']:.0f} p99 {gap['p99']:.0f} ms",
            "input": f"p50 {ack['p50']:.0f} p99 {ack['p99']:.0f} ms",
            "pictures": f"{findings.compared} checked",
            "faults": str(faults or "none"),
            "errors": str(findings.errors.total()),
        }
        busy = {name: measures.cores_used(series[-4:]) for name, series in watcher.series.items()}
        busy |= {name: measures.cores_used(series[-4:]) for name, series in gathered.series.items()}
        return rows | {"cores": " ".join(f"{name} {cores:.2f}" for name, cores in busy.items())}
