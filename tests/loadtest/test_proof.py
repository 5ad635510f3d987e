"""What a proof leaves behind: a line of JSON, a file, an exit code."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from loadtest.figures import percentiles, rounded
from loadtest.prove import __main__ as prove
from loadtest.prove.proof import Proof


@dataclass(frozen=True)
class Options:
    """Of the pretended claim."""

    bots: int = 3
    tests: bool = True


def last_line(said: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(said.splitlines()[-1])
    return found


def test_a_proof_that_holds_ends_with_its_figures_and_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proof = Proof("sums")
    proof.figure("total_ms", np.float64(12.34567))
    assert proof.require(True, "nothing")
    assert proof.finish({"bots": 3}, results=tmp_path) == 0
    told = last_line(capsys.readouterr().out)
    assert told["ok"] is True
    assert told["figures"] == {"total_ms": 12.35}
    assert json.loads((tmp_path / "sums.json").read_text()) == told
    assert {"cpu", "cores", "python", "numpy", "commit", "date"} <= dict(told["machine"]).keys()  # type: ignore[call-overload]


def test_a_broken_invariant_ends_with_1_and_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proof = Proof("sums")
    proof.require(False, "two and two is five")
    assert proof.finish({}, results=tmp_path) == 1
    told = last_line(capsys.readouterr().out)
    assert (told["ok"], told["broken"]) == (False, ["two and two is five"])


def test_every_claim_has_a_module_with_options_and_a_run() -> None:
    for name in prove.CLAIMS:
        module = __import__(prove.module_of(name), fromlist=["run"])
        assert callable(module.run), name
        assert module.Options(), name


def test_a_run_that_fails_proves_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    claim = ModuleType("pretended")

    def run(proof: Proof, options: Options) -> None:
        proof.figure("bots", options.bots)
        raise RuntimeError(f"no {options.bots} bots, tests {options.tests}")

    vars(claim).update(Options=Options, run=run)
    monkeypatch.setitem(sys.modules, "loadtest.prove.pretended", claim)
    monkeypatch.setitem(prove.CLAIMS, "pretended", "nothing")
    assert prove.main(["pretended", "--keep-results", "--bots", "7", "--no-tests"]) == 1
    told = last_line(capsys.readouterr().out)
    assert "no 7 bots, tests False" in str(told["broken"])
    assert told["options"] == {"bots": 7, "tests": False}


def test_without_a_name_the_claims_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert prove.main([]) == 2
    assert "world-e2e" in capsys.readouterr().out


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentiles([5.0, 1.0, 3.0], 50, 99) == {"p50": 3.0, "p99": 5.0, "max": 5.0}
    assert percentiles([], 50) == {}


def test_figures_are_rounded_throughout() -> None:
    assert rounded({"a": [1.23456, 7], "b": (True, None, "x")}) == {"a": [1.235, 7], "b": [True, None, "x"]}
