"""What a run consists of, read from TOML: bots and how they come, networks, chaos, thresholds. Everything is checked
before anything starts; a name that is not known is an error, never ignored.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from loadtest.swarm.behaviours import BEHAVIOURS
from loadtest.swarm.network import NETWORKS, NONE
from loadtest.swarm.thresholds import Limits

BOTS_MAX = 200_000


class ScenarioError(Exception):
    """A scenario that makes no sense; the message says where."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClusterPart(_Part):
    """What `--local` starts. Ignored against another cluster."""

    title: str = "roam"
    workers: int = Field(default=2, ge=1, le=64)
    gateways: int = Field(default=2, ge=1, le=64)
    shards: str = ""
    seed: int = 1
    commit_level: int | None = Field(default=None, ge=0, le=3)


class Ramp(_Part):
    """How a group comes. linear: evenly over `seconds`; steps: in `steps` equal parts; spike: at once."""

    kind: Literal["linear", "steps", "spike"] = "linear"
    seconds: float = Field(default=10.0, ge=0)
    steps: int = Field(default=4, ge=1)
    start_s: float = Field(default=0.0, ge=0)

    def due_s(self, number: int, count: int) -> float:
        """When the bot with this number of `count` comes, seconds from the run's start."""
        if self.kind == "spike":
            return self.start_s
        if self.kind == "steps":
            return self.start_s + self.seconds * (number * self.steps // count) / self.steps
        return self.start_s + self.seconds * number / count


class BotsPart(_Part):
    """A group of bots that do the same."""

    behaviour: str
    count: int = Field(ge=1, le=BOTS_MAX)
    ramp: Ramp = Ramp()
    network: str = NONE
    sampled: float = Field(default=0.1, ge=0, le=1)
    """The part of them that keeps the full picture and checks it."""
    input_interval_s: float = Field(default=0.75, gt=0, le=60)
    """Between two inputs, on average; each varies by a third."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.behaviour not in BEHAVIOURS:
            raise ValueError(f"behaviour {self.behaviour!r}; there are {', '.join(sorted(BEHAVIOURS))}")
        if self.network not in NETWORKS:
            raise ValueError(f"network {self.network!r}; there are {', '.join(sorted(NETWORKS))}")
        return self


class ChaosPart(_Part):
    """One thing that goes wrong on purpose. kill, restart: the process ends (restart: in order) and is started again
    after `for_s`; pause: it stands still for `for_s`; drain: a worker is emptied; network: every bot's network becomes
    `network` for `for_s`.
    """

    at_s: float = Field(ge=0)
    do: Literal["kill", "restart", "pause", "drain", "network"]
    target: str = ""
    for_s: float = Field(default=2.0, ge=0)
    network: str = NONE

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.network not in NETWORKS:
            raise ValueError(f"network {self.network!r}; there are {', '.join(sorted(NETWORKS))}")
        if (self.do == "network") == bool(self.target):
            raise ValueError(f"{self.do} {'takes no' if self.target else 'needs a'} target")
        return self


class Scenario(_Part):
    """A run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,60}$")
    about: str = ""
    seed: int = 1
    duration_s: float = Field(default=60.0, gt=0, le=86_400)
    warm_up_s: float = Field(default=5.0, ge=0)
    """What is measured before all bots have come and this much time has passed is shown, and counts for no threshold of
    speed. Correctness counts from the first frame on."""
    processes: int = Field(default=0, ge=0, le=256)
    """Of bots; 0: as many as there are cores, and no more than the bots need."""
    check_interval_s: float = Field(default=2.0, gt=0)
    """How often each sampled bot checks its picture."""
    cluster: ClusterPart = ClusterPart()
    bots: list[BotsPart] = Field(min_length=1)
    chaos: list[ChaosPart] = []
    thresholds: Limits = Limits()

    @property
    def count(self) -> int:
        """Bots of all groups."""
        return sum(group.count for group in self.bots)

    @property
    def all_come_s(self) -> float:
        """When the last bot comes, seconds from the run's start."""
        return max(group.ramp.due_s(group.count - 1, group.count) for group in self.bots)

    @property
    def measured_from_s(self) -> float:
        """From when on speed counts."""
        return min(self.all_come_s + self.warm_up_s, self.duration_s / 2)

    def scaled(self, count: int) -> Scenario:
        """The same with `count` bots in all, each group in its proportion."""
        left, groups = count, []
        for i, group in enumerate(self.bots):
            mine = left if i == len(self.bots) - 1 else max(1, round(group.count * count / self.count))
            groups.append(group.model_copy(update={"count": max(1, mine)}))
            left -= mine
        return self.model_copy(update={"bots": groups})


def read(path: Path) -> Scenario:
    """A scenario file. Raises ScenarioError."""
    try:
        return Scenario.model_validate(tomllib.loads(path.read_text()))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ScenarioError(f"{path}: {error}") from error
    except ValidationError as error:
        where = [f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors()]
        raise ScenarioError(f"{path}: " + "; ".join(where)) from error
