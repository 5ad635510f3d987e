"""What a run must keep to, and whether it did. Correctness is always judged; speed only where the scenario says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Limits(BaseModel):
    """Thresholds of a scenario. What is not given is not judged; the first five are judged always."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    faults_max: int = Field(default=0, ge=0)
    """Lost, doubled or wrongly acknowledged inputs, wrong pictures, entities seen twice, frames out of order."""
    checks_min: int = Field(default=1, ge=0)
    """Pictures that must have been compared with the server's."""
    effects_min: int = Field(default=0, ge=0)
    """Inputs whose effect must have been seen."""
    stopped_max: int = Field(default=0, ge=0)
    """Bots that gave up."""
    playing_min: float = Field(default=0.99, ge=0, le=1)
    """Part of the bots that once played."""
    on_time_min: float | None = Field(default=None, ge=0, le=1)
    interval_p99_ms_max: float | None = None
    input_p99_ms_max: float | None = None
    connect_p99_ms_max: float | None = None
    errors_max: int | None = None


def broken(limits: Limits, result: Mapping[str, Any]) -> list[str]:
    """Every threshold that a run's result does not keep, in words."""
    told = [f"{name}: {text}" for name, texts in result["examples"].items() for text in texts[:2]]
    found = []

    def at_most(name: str, value: float, limit: float | None) -> None:
        if limit is not None and value > limit:
            found.append(f"{name} is {value:g}, at most {limit:g} may be")

    def at_least(name: str, value: float, limit: float | None) -> None:
        if limit is not None and value < limit:
            found.append(f"{name} is {value:g}, at least {limit:g} must be")

    faults = {name: count for name, count in result["faults"].items() if count}
    if sum(faults.values()) > limits.faults_max:
        found.append(f"the game was not correct: {faults}; {'; '.join(told[:6])}")
    at_least("pictures checked", result["checks"]["compared"], limits.checks_min)
    at_least("effects seen", result["checks"]["effects"], limits.effects_min)
    at_most("bots that gave up", sum(result["stopped"].values()), limits.stopped_max)
    at_least("part of the bots that played", result["played"] / max(1, result["bots"]), limits.playing_min)
    figures = result["figures"]
    at_least("frames on time", figures["on_time"], limits.on_time_min)
    at_most("frame interval p99, ms", figures["interval_ms"]["p99"], limits.interval_p99_ms_max)
    at_most("input to effect p99, ms", figures["input_ms"]["p99"], limits.input_p99_ms_max)
    at_most("connect p99, ms", figures["connect_ms"]["p99"], limits.connect_p99_ms_max)
    at_most("errors", sum(result["errors"].values()), limits.errors_max)
    return found
