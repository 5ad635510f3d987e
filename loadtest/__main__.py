"""`python -m loadtest`: overworld-loadtest. loadtest/README.md says what for."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from loadtest.swarm import limit as limits
from loadtest.swarm import run as runs
from loadtest.swarm.chaos import ChaosImpossible
from loadtest.swarm.crew import CrewFailed
from loadtest.swarm.difference import differences, table
from loadtest.swarm.machines import Machines, MachinesFailed, Together
from loadtest.swarm.progress import Screen
from loadtest.swarm.report import page
from loadtest.swarm.scenario import Scenario, ScenarioError, read
from loadtest.swarm.target import Target, local
from loadtest.swarm.tokens import Tickets

SCENARIOS = Path(__file__).parent / "scenarios"
EXIT_BROKEN, EXIT_FAILED = 1, 2
FAILURES = (ScenarioError, ChaosImpossible, CrewFailed, MachinesFailed, OSError)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Load tests: how many players hold, what breaks first, and is the game still correct."""


def _scenario(name: str) -> Scenario:
    """A file, or the name of one that comes with this repository."""
    path = Path(name) if name.endswith(".toml") else SCENARIOS / f"{name}.toml"
    return read(path)


def _target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        [
            click.option(
                "--local", "here", is_flag=True, help="Start a cluster on this machine, as the scenario says."
            ),
            click.option("--gateway", "gateways", multiple=True, help="Game socket, ws:// or wss://; several times."),
            click.option("--title", default="", help="The world's title, where it is not the scenario's."),
            click.option("--world", default="main", show_default=True, help="The world's name."),
            click.option("--token-key", envvar="OVERWORLD_CLUSTER_KEY", default="", help="Make tokens with this key."),
            click.option("--guests", multiple=True, help="Get tokens from these gateways' HTTP ports."),
            click.option("--tokens", default="", help="A file with a token a line."),
            click.option("--admin", "admins", multiple=True, help="Internal ports (http://host:port), for checks."),
            click.option("--admin-token", envvar="OVERWORLD_ADMIN_TOKEN", default="", help="With admin rights."),
        ]
    ):
        command = option(command)
    return command


async def _target(scenario: Scenario, folder: Path, options: dict[str, Any]) -> Target:
    if options["here"]:
        return await local(scenario.cluster, folder)
    if not options["gateways"]:
        raise click.UsageError("either --local or --gateway")
    title = options["title"] or scenario.cluster.title
    if not (options["token_key"] or options["guests"] or options["tokens"]):
        raise click.UsageError("--token-key, --guests or --tokens: bots need tokens")
    if bool(options["admins"]) != bool(options["admin_token"]):
        raise click.UsageError("--admin and --admin-token belong together")
    tickets = Tickets(
        key=options["token_key"], world=options["world"], title=title,
        guest_urls=tuple(options["guests"]), file=options["tokens"],
    )  # fmt: skip
    return Target(options["gateways"], title, tickets, options["admins"], options["admin_token"])


def _write(result: dict[str, Any], output: Path) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    output.with_suffix(".json").write_text(json.dumps(result) + "\n")
    output.with_suffix(".html").write_text(page(result))


def _tell(result: dict[str, Any], console: Console) -> None:
    figures = result["figures"]
    line = (
        f"{result['played']} of {result['bots']} bots played; frames on time {figures['on_time']:.1%}, interval p99 "
        f"{figures['interval_ms']['p99']:.0f} ms, input p99 {figures['input_ms']['p99']:.0f} ms; "
        f"{result['checks']['compared']} pictures and {result['checks']['effects']} effects checked"
    )
    console.print(line, highlight=False, soft_wrap=True)
    for text in result["warnings"]:
        console.print(f"note: {text}", highlight=False, soft_wrap=True)
    for text in result["broken"]:
        console.print(f"BROKEN: {text}", highlight=False, soft_wrap=True, markup=False)
    console.print("passed" if result["ok"] else "FAILED")


@main.command()
@click.argument("scenario")
@_target_options
@click.option("--bots", type=click.IntRange(1), default=None, help="So many in all, instead of the scenario's.")
@click.option("--seconds", type=float, default=None, help="So long, instead of the scenario's duration.")
@click.option("--seed", type=int, default=None, help="Instead of the scenario's.")
@click.option("--output", type=Path, default=None, help="Where to write: PATH.json and PATH.html.")
@click.option("--machines", type=click.IntRange(1), default=1, help="How many machines take part.")
@click.option("--redis", "redis_url", default="", help="The machines' Redis (not the cluster's).")
@click.option("--run-name", default="run", show_default=True, help="What the machines of one run call it.")
def run(
    scenario: str,
    bots: int | None,
    seconds: float | None,
    seed: int | None,
    output: Path | None,
    machines: int,
    redis_url: str,
    run_name: str,
    **options: Any,
) -> None:
    """Play SCENARIO: a TOML file, or the name of one that comes along (`python -m loadtest scenarios`).

    Exit codes: 0 all thresholds kept, 1 one of them not, 2 the run itself failed.
    """
    console = Console(stderr=True)
    try:
        chosen = _scenario(scenario)
        given = {"duration_s": seconds, "seed": seed}
        chosen = chosen.model_copy(update={name: value for name, value in given.items() if value is not None})
        chosen = chosen.scaled(bots) if bots is not None else chosen
        others = Together(redis_url, run_name, machines) if redis_url else None
        result = asyncio.run(_run(chosen, console, others, options))
    except FAILURES as error:
        console.print(f"the run failed: {error}", markup=False, soft_wrap=True)
        sys.exit(EXIT_FAILED)
    if result is None:
        console.print("the leading machine has the result")
        return
    _write(result, output or Path("loadtest-results") / chosen.name)
    _tell(result, console)
    sys.exit(0 if result["ok"] else EXIT_BROKEN)


async def _run(
    scenario: Scenario, console: Console, others: Machines | None, options: dict[str, Any]
) -> dict[str, Any] | None:
    with tempfile.TemporaryDirectory(prefix="overworld-loadtest-") as folder:
        target = await _target(scenario, Path(folder), options)
        async with target:
            with Screen(scenario, console) as screen:
                return await runs.run(scenario, target, Path(folder), told=screen.show, machines=others)


@main.command("find-limit")
@click.argument("scenario")
@_target_options
@click.option("--lowest", type=click.IntRange(1), default=50, show_default=True)
@click.option("--highest", type=click.IntRange(1), default=20_000, show_default=True)
@click.option("--seconds", type=float, default=30.0, show_default=True, help="Of each try.")
@click.option("--close", type=float, default=0.1, show_default=True, help="Stop when the limit is known to this part.")
@click.option("--output", type=Path, default=Path("loadtest-results/limit"), show_default=True)
def find_limit(
    scenario: str, lowest: int, highest: int, seconds: float, close: float, output: Path, **options: Any
) -> None:
    """The largest number of players that holds: 95 % of frames on time, interval p99 under two ticks, no errors."""
    console = Console(stderr=True)

    async def one(bots: int) -> dict[str, Any]:
        result = await _run(limits.trial(chosen, bots, seconds), console, None, options)
        assert result is not None
        console.print(f"{bots} players: {limits.told(result)}", highlight=False, soft_wrap=True)
        return result

    try:
        chosen = _scenario(scenario)
        found = asyncio.run(limits.find(one, lowest, highest, close))
    except FAILURES as error:
        console.print(f"the search failed: {error}", markup=False, soft_wrap=True)
        sys.exit(EXIT_FAILED)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.with_suffix(".json").write_text(json.dumps(found, indent=2) + "\n")
    console.print(f"{found['holds']} players hold; {found['why']}", highlight=False, soft_wrap=True)


@main.command()
@click.argument("before", type=click.Path(exists=True, path_type=Path))
@click.argument("after", type=click.Path(exists=True, path_type=Path))
def compare(before: Path, after: Path) -> None:
    """Two results (JSON), figure by figure. Exit code 1 where something is worse beyond noise."""
    found = differences(json.loads(before.read_text()), json.loads(after.read_text()))
    Console().print(table(found))
    sys.exit(EXIT_BROKEN if any(row.verdict == "worse" for row in found) else 0)


@main.command()
@click.argument("result", type=click.Path(exists=True, path_type=Path))
def report(result: Path) -> None:
    """Draw the HTML page of a result (JSON) again."""
    result.with_suffix(".html").write_text(page(json.loads(result.read_text())))


@main.command()
def scenarios() -> None:
    """What comes along."""
    for path in sorted(SCENARIOS.glob("*.toml")):
        found = read(path)
        click.echo(f"{found.name:18} {found.count:6} bots, {found.duration_s:.0f} s  {found.about}")


if __name__ == "__main__":
    main(prog_name="overworld-loadtest")
