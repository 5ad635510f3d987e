"""What the offline check of a recorded run came to, and its figures for a proof's summary."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from loadtest.census import Account
from loadtest.compare import Comparison, Traffic
from loadtest.figures import percentiles
from loadtest.inputs import InputAudit


@dataclass
class Findings:
    """What the offline check of a run came to."""

    bots: int
    ticks: int = 0
    tick_ms: float = 0.0
    """From one tick to the next."""
    shards: int = 0
    cpu_s: dict[str, float] = field(default_factory=dict)
    load: float = 0.0
    steps_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    """How long what takes in the workers, by quantile."""
    audited: Comparison = field(default_factory=Comparison)
    """Against the workers' own word."""
    replayed: Comparison = field(default_factory=Comparison)
    """Against the replay of the surviving journal."""
    inputs: InputAudit = field(default_factory=InputAudit)
    journal_faults: list[str] = field(default_factory=list)
    replay_faults: list[str] = field(default_factory=list)
    doubles: list[str] = field(default_factory=list)
    """Inputs applied more than once, or out of order."""
    account: Account = field(default_factory=Account)
    """Where every entity was at every tick."""
    digests_compared: int = 0
    side_branches: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    lost_sockets: int = 0
    traffic: Traffic = field(default_factory=Traffic)
    players: dict[str, int] = field(default_factory=dict)
    """Sums of the title's own columns over all players, at the end."""


def figures_of(found: Findings) -> dict[str, Any]:
    """The figures of a run, for a proof's summary."""

    def pictures(part: Comparison) -> dict[str, Any]:
        return {
            "comparisons": part.comparisons,
            "bots": len(part.bots),
            "cells": part.cells,
            "entities": part.entities,
            "fields": part.fields,
            "mismatches": part.mismatches,
            "whole_views": part.whole_views / part.comparisons if part.comparisons else 0.0,
        }

    return {
        "bots": found.bots,
        "shards": found.shards,
        "ticks_replayed": found.ticks,
        "digests_compared": found.digests_compared,
        "handovers": found.account.handovers,
        "entities_handed_over": len(found.account.hops),
        "entities": found.account.entities_last,
        "pictures_against_workers": pictures(found.audited),
        "pictures_against_replay": pictures(found.replayed),
        "owner_values_compared": found.replayed.owns,
        "frames": found.replayed.frames,
        "bytes_per_bot_s": found.traffic.bytes_per_bot_second,
        "frames_per_bot_s": found.traffic.frames_per_bot_second,
        "frame_gap_ms": percentiles(found.replayed.gaps_ms, 50, 99),
        "inputs_sent": found.inputs.sent,
        "inputs_acked": found.inputs.acked,
        "inputs_sent_again": found.inputs.sent_again,
        "lost_sockets": found.lost_sockets,
        "players": found.players,
        "cpu_s": found.cpu_s,
        "load_average": found.load,
        "worker_ms": found.steps_ms,
    }
