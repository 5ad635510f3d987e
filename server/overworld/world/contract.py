"""The world contract: everything that all processes of a world must agree on, and its fingerprint.

Gateways and workers exchange the fingerprint in every handshake, snapshots carry it, clients are told it. It stands
here and not in `settings`, because it is made from a title's declarations; settings are what one process may have
different from another.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from overworld.world.grid import Grid
from overworld.world.interest import Interest
from overworld.world.schema import Column, InputKind, Kind


@dataclass(frozen=True)
class WorldContract:
    """One world as all its processes see it. `seed` keys all chance; `grace_ticks` is how long an avatar waits for
    its player; `rewind_ticks` how far back the motion of kinds that `rewind` is kept; `interest` what clients are told
    first.
    """

    world: str
    title: str
    title_version: int
    grid: Grid
    kinds: tuple[Kind, ...]
    player_columns: tuple[Column, ...]
    inputs: tuple[InputKind, ...]
    seed: int = 0
    grace_ticks: int = 600
    inputs_per_tick_max: int = 4
    commit_level: int = 1
    messages: tuple[InputKind, ...] = ()
    rewind_ticks: int = 0
    interest: Interest = field(default_factory=Interest)

    @cached_property
    def fingerprint(self) -> str:
        """Hex digest (blake2b-128) of everything above."""
        return _digest(self._plain(), 16)

    @cached_property
    def definitions(self) -> str:
        """Hex digest (blake2b-64) of what a title declares towards clients, whatever the world and version: its name,
        kinds with their near and owner columns, inputs, and all ranges. Generated clients carry it.
        """

        def columns(group: tuple[Column, ...]) -> list[Any]:
            fields = [(c.name, c.field) for c in group]
            return [[name, f.minimum, f.maximum, f.modulo, f.units_per_one] for name, f in fields]

        kinds = [
            [k.name, k.motion.units_per_one if k.motion else 0, columns(k.near), columns(k.owner)] for k in self.kinds
        ]
        inputs = [[i.name, columns(i.fields)] for i in self.inputs]
        return _digest([self.title, kinds, inputs], 8)

    @cached_property
    def play_fingerprint(self) -> str:
        """Hex digest of what gateways, clients and shards see of each other: workers whose titles differ only in their
        rules, and in columns that the server keeps to itself, have the same.
        """
        plain = self._plain()
        seen = {name: plain[name] for name in ("grid", "inputs", "messages")}
        seen["world"] = [self.world, self.title, self.seed, self.commit_level]
        seen["kinds"] = [[name, motion, near, owner] for name, motion, near, owner, _ in plain["kinds"]]
        if self.interest.plots != Interest().plots:
            # A gateway names plots by number.
            seen["plots"] = self.interest.plots
        return _digest(seen, 16)

    def _plain(self) -> dict[str, Any]:
        return {
            "world": [
                self.world,
                self.title,
                self.title_version,
                self.seed,
                self.grace_ticks,
                self.inputs_per_tick_max,
                self.commit_level,
            ],
            "grid": asdict(self.grid),
            "kinds": [
                [
                    k.name,
                    asdict(k.motion) if k.motion else None,
                    _columns(k.near),
                    _columns(k.owner),
                    _columns(k.server),
                ]
                for k in self.kinds
            ],
            "player": _columns(self.player_columns),
            "inputs": [[i.name, _columns(i.fields)] for i in self.inputs],
            "messages": [[m.name, _columns(m.fields)] for m in self.messages],
            **({"interest": _interest(self.interest)} if self.interest != Interest() else {}),
            **({"pace": [k.pace for k in self.kinds]} if any(k.pace != 1 for k in self.kinds) else {}),
            **({"rewind": [self.rewind_ticks, [k.name for k in self.kinds if k.rewind]]} if self.rewind_ticks else {}),
        }


def _columns(group: tuple[Column, ...]) -> list[Any]:
    return [[c.name, {**asdict(c.field), "audience": c.field.audience.value}] for c in group]


def _interest(interest: Interest) -> dict[str, Any]:
    """Without `nearest` where it is the usual number: worlds from before there was one keep their fingerprint."""
    plain = asdict(interest)
    if interest.nearest == Interest().nearest:
        del plain["nearest"]
    return plain


def _digest(plain: Any, size: int) -> str:
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()
