"""A title's step gives the same bits from the same inputs, whatever the machine: journals are replayed elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

import overworld
from overworld.shard import snapshot
from overworld.shard.digest import column_digests
from tests.titles.replays import TICKS, digests, simd
from tests.titles.storm import TITLES, Storm

ROOT = Path(overworld.__file__).parent
REPOSITORY = ROOT.parent.parent

ENVIRONMENTS = {
    "as it is": {},
    "another hash seed": {"PYTHONHASHSEED": "4711"},
    "no SIMD beyond the baseline": {"NPY_DISABLE_CPU_FEATURES": " ".join(simd())},
    "C library without AVX2 and FMA": {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4"},
}


@pytest.fixture(scope="module")
def here() -> dict[str, list[str]]:
    """What this process computes."""
    return {title: digests(title) for title in sorted(TITLES)}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_another_process_finds_the_same_digests(name: str, here: dict[str, list[str]]) -> None:
    path = os.pathsep.join([str(ROOT.parent), str(REPOSITORY)])
    env = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": path, **ENVIRONMENTS[name]}
    ran = subprocess.run(
        [sys.executable, "-m", "tests.titles.replays"],
        env=env,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr
    there = json.loads(ran.stdout)
    if "NPY_DISABLE_CPU_FEATURES" in env:
        assert there["simd"] == []
    assert {title: there[title] for title in here} == here


def test_digests_tell_seeds_and_ticks_apart(here: dict[str, list[str]]) -> None:
    for found in here.values():
        assert len(set(found)) == len(found) == TICKS // 20 + 1
    storms = [Storm("frontier", seed) for seed in (1, 2)]
    for storm in storms:
        storm.step()
    assert storms[0].play.core.digest() != storms[1].play.core.digest()


@pytest.mark.parametrize("title", sorted(TITLES))
def test_a_run_cut_in_two_by_a_snapshot_is_the_same_run(title: str) -> None:
    @given(st.integers(0, 2**32), st.integers(0, 60), st.integers(1, 60))
    @settings(max_examples=10, deadline=None)
    def check(seed: int, cut: int, rest: int) -> None:
        note(f"seed {seed}")
        whole, first, second = (Storm(title, seed) for _ in range(3))
        for _ in range(cut + rest):
            whole.step()
        for _ in range(cut):
            first.step()
        core = first.play.core
        data = snapshot.encode(snapshot.freeze(core), core, epoch=1, chain=b"", wall_ms=0)
        snapshot.restore(second.play.core, data)
        for _ in range(rest):
            second.step()
        assert column_digests(second.play.shard) == column_digests(whole.play.shard)
        assert second.play.core.digest() == whole.play.core.digest()

    check()
