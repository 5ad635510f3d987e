"""What a client would have drawn of what it received, frame by frame: by the Python SDK and by the JavaScript one.

Drawing is pure, so it is done afterwards, from a recording of messages and the times they came: no clock of a busy
machine is between the two, and both SDKs draw the very same.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from dataclasses import dataclass, field

from loadtest.machine import REPOSITORY
from overworld.client.beat import PARTS, Beats
from overworld.client.interpolation import Interpolator, Sight
from overworld.client.mirror import Mirror
from overworld.client.presence import Presence

DRAW = REPOSITORY / "clients" / "js" / "tools" / "draw.js"
NODE_S = 120.0


@dataclass
class Recording:
    """(arrival in seconds, message) in order, and the times of the frames that are drawn, ascending."""

    messages: list[tuple[float, bytes]] = field(default_factory=list)
    frames: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Drawn:
    """One frame: what the SDK says is drawn, how long it draws behind, and by entity the places, position units, and
    (heading, then x, y and heading as predicted).
    """

    sight: Sight | None
    delay_ms: float
    places: dict[int, tuple[float, float]]
    more: dict[int, tuple[float, ...]]

    @property
    def tick(self) -> float:
        """The tick that is drawn."""
        assert self.sight is not None
        return self.sight.tick + self.sight.part / PARTS


def by_python(recording: Recording, kind: str) -> list[Drawn]:
    """All frames, drawn by `overworld.client`."""
    mirror, beats = Mirror(), Beats()
    presence = Presence(mirror)
    others = Interpolator(presence, beats)
    drawn: list[Drawn] = []
    at = 0
    for now in recording.frames:
        while at < len(recording.messages) and recording.messages[at][0] <= now:
            when, data = recording.messages[at]
            if mirror.apply(mirror.parse(data)) and mirror.contract is not None:
                beats.frame(mirror, when)
                others.frame(when)
            at += 1
        places: dict[int, tuple[float, float]] = {}
        more: dict[int, tuple[float, ...]] = {}
        if mirror.contract is not None:
            for seen in presence.every(mirror.contract.kind(kind)):
                placed, guess = others.interpolated(seen.entity, now), others.predicted(seen.entity, now)
                if placed is not None and guess is not None:
                    places[seen.entity] = (placed.x, placed.y)
                    more[seen.entity] = (placed.angles["heading"], guess.x, guess.y, guess.angles["heading"])
        drawn.append(Drawn(others.sight(0, now), others.delay_s * 1000, places, more))
    return drawn


def by_javascript(recording: Recording, kind: str) -> list[Drawn]:
    """The same by `clients/js`, in Node. Raises CalledProcessError."""
    told = {
        "messages": [[at * 1000, base64.b64encode(data).decode()] for at, data in recording.messages],
        "frames": [at * 1000 for at in recording.frames],
    }
    done = subprocess.run(
        [node(), str(DRAW), kind], input=json.dumps(told).encode(), capture_output=True, check=True, timeout=NODE_S
    )
    drawn: list[Drawn] = []
    for line in done.stdout.splitlines():
        sight, delay_ms, places, more = json.loads(line)
        placed = {int(entity): (float(x), float(y)) for entity, (x, y) in places.items()}
        others = {int(entity): tuple(map(float, values)) for entity, values in more.items()}
        drawn.append(Drawn(Sight(**sight) if sight else None, delay_ms, placed, others))
    return drawn


def node() -> str:
    """The Node that set-up chose, else the one on PATH."""
    chosen = REPOSITORY / ".venv" / "bin" / "node"
    found = str(chosen) if chosen.exists() else shutil.which("node")
    assert found, "no Node found; run `make setup`"
    return found


def differences(one: list[Drawn], other: list[Drawn]) -> tuple[int, float]:
    """(frames that both drew at another moment by more than a 256th of a tick, the greatest distance of an entity in
    frames of the same moment). Frames in which either drew nothing yet do not count.
    """
    apart, worst = 0, 0.0
    for a, b in zip(one, other, strict=True):
        if a.sight is None or b.sight is None:
            continue
        apart += abs(a.tick - b.tick) > 1.5 / PARTS
        if a.sight == b.sight:
            for entity in a.places.keys() & b.places.keys():
                (ax, ay), (bx, by) = a.places[entity], b.places[entity]
                worst = max(worst, abs(ax - bx), abs(ay - by))
    return apart, worst
