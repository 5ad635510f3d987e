"""`make profile` and `make bench`: they run, and give what they say."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.benchmarks.ratios import ratios
from loadtest.machine import REPOSITORY
from loadtest.profile import Settings, profile

pytestmark = pytest.mark.timeout(120)


@pytest.mark.e2e
def test_every_process_of_a_load_gives_a_flame_graph_and_a_speedscope_file(tmp_path: Path) -> None:
    settings = Settings(players=60, seconds=4, rate=200, output=str(tmp_path))
    written = asyncio.run(profile(settings))
    assert sorted(path.name for path in written) == [
        "bots.speedscope.json", "bots.svg", "gateway-0.speedscope.json", "gateway-0.svg", "worker-0.speedscope.json",
        "worker-0.svg",
    ]  # fmt: skip
    assert "overworld/worker" in (tmp_path / "worker-0.svg").read_text()
    frames = json.loads((tmp_path / "gateway-0.speedscope.json").read_text())["shared"]["frames"]
    assert any("overworld/gateway" in frame.get("file", "") for frame in frames)


def test_every_benchmark_runs_and_checks_what_comes_out(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "loadtest/benchmarks", "--benchmark-disable"],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


def test_two_runs_are_compared_by_ratio() -> None:
    def run(**medians: float) -> dict[str, object]:
        return {"benchmarks": [{"name": name, "stats": {"median": value}} for name, value in medians.items()]}

    assert ratios(run(step=2.0, gone=1.0), run(step=3.0, new=1.0)) == {"step": (2.0, 3.0, 1.5)}
