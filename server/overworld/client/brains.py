"""What bots do: which input next, and when to think again. Pure: chance is an argument; the world is what the bot sees.

`RandomBrain` plays any title by its declared inputs. A title whose bots should look alive has a brain of its own here
(titles themselves may not know the client).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from overworld.client.contract import ClientContract
from overworld.client.mirror import LightMirror, Mirror, Seen


@dataclass(frozen=True)
class Decision:
    """An input's number and values in wire order (None: leave the hands where they are), and when to think again."""

    command: tuple[int, tuple[int, ...]] | None
    again_s: float


class Brain(Protocol):
    """Decides for one bot."""

    def decide(self, mirror: LightMirror) -> Decision:
        """What to do now. Called only while the bot plays."""


class RandomBrain:
    """A random input with random values, every 0.5 to 1 s, as people steer."""

    def __init__(self, contract: ClientContract, chance: random.Random) -> None:
        self._inputs = [i for i in contract.inputs if i.fields]
        self._chance = chance

    def decide(self, mirror: LightMirror) -> Decision:  # noqa: ARG002 (looks at nothing)
        """Any input the title declares."""
        again_s = self._chance.uniform(0.5, 1.0)
        if not self._inputs:
            return Decision(None, again_s)
        kind = self._chance.choice(self._inputs)
        return Decision((kind.number, tuple(self._chance.randint(low, high) for _, low, high in kind.fields)), again_s)


class IdleBrain:
    """Looks on."""

    def __init__(self, contract: ClientContract, chance: random.Random) -> None:
        """Needs neither."""

    def decide(self, mirror: LightMirror) -> Decision:  # noqa: ARG002 (looks at nothing)
        """Nothing."""
        return Decision(None, 1.0)


_TURN = 256
_TURN_STEPS_PER_S = 100
"""Frontier's ships turn by 5 of 256 steps a tick, 20 ticks a second."""
_DEAD, _PROTECTED = 4, 1
_AIM_STEPS = 7


class FrontierBrain:
    """Hunts ships and drones that are near, else collects crystals, else wanders."""

    def __init__(self, contract: ClientContract, chance: random.Random) -> None:
        self._chance = chance
        self._steer = contract.input("Steer")
        self._ship, self._drone = contract.kind("Ship"), contract.kind("Drone")
        self._crystal = contract.kind("Crystal")
        ship = contract.kinds[self._ship]
        self._heading, self._flags = ship.index["heading"], ship.index["flags"]
        # One of the title's own measures in position units, as its motion columns are declared.
        unit = ship.units[0]
        self._sight, self._range, self._close = 60 * unit, 50 * unit, 20 * unit
        self._wander = chance.randrange(_TURN)

    def decide(self, mirror: LightMirror) -> Decision:
        """Steer towards something worth it."""
        own = mirror.own() if isinstance(mirror, Mirror) else None
        if own is None or own.values[self._flags] & _DEAD:
            return Decision(None, self._chance.uniform(0.3, 0.6))
        assert isinstance(mirror, Mirror)
        prey = self._nearest(own, (*self._rivals(mirror, own), *mirror.entities(self._drone)))
        if prey is not None and prey[0] < self._sight:
            distance, off = prey[0], self._off(own, prey[1])
            fire = abs(off) <= _AIM_STEPS and distance < self._range
            return self._hands(off, 0 if distance < self._close else 1, fire=fire)
        crystal = self._nearest(own, mirror.entities(self._crystal))
        if crystal is not None:
            off = self._off(own, crystal[1])
            return self._hands(off, 1 if abs(off) < 40 else -1, fire=False)
        if self._chance.random() < 0.2:
            self._wander = self._chance.randrange(_TURN)
        return self._hands(_short(self._wander - own.values[self._heading]), 1, fire=False)

    def _rivals(self, mirror: Mirror, own: Seen) -> Iterable[Seen]:
        for ship in mirror.entities(self._ship):
            if ship.entity != own.entity and not ship.values[self._flags] & (_DEAD | _PROTECTED):
                yield ship

    def _nearest(self, own: Seen, others: Iterable[Seen]) -> tuple[float, Seen] | None:
        """The nearest one and its distance in position units."""
        x, y = own.values[:2]
        found = ((math.hypot(o.values[0] - x, o.values[1] - y), o) for o in others)
        return min(found, key=lambda pair: pair[0], default=None)

    def _off(self, own: Seen, other: Seen) -> int:
        """Steps to turn until it is straight ahead, the short way: negative is left."""
        angle = math.atan2(other.values[1] - own.values[1], other.values[0] - own.values[0])
        return _short(round(angle / math.tau * _TURN) - own.values[self._heading])

    def _hands(self, off: int, thrust: int, *, fire: bool) -> Decision:
        turn = 0 if abs(off) <= 4 else (1 if off > 0 else -1)
        values = self._steer.values({"turn": turn, "thrust": thrust, "fire": int(fire)})
        # Look again when the turn is done, and not so often that a person could not.
        done_s = abs(off) / _TURN_STEPS_PER_S if turn else self._chance.uniform(0.4, 0.8)
        return Decision((self._steer.number, tuple(values)), min(max(done_s, 0.15), 0.8))


def _short(steps: int) -> int:
    return (steps + _TURN // 2) % _TURN - _TURN // 2


BrainMaker = Callable[[ClientContract, random.Random], Brain]
_BY_NAME: dict[str, BrainMaker] = {"random": RandomBrain, "idle": IdleBrain, "frontier": FrontierBrain}
BRAINS = ("auto", *_BY_NAME)


def brain_for(name: str, contract: ClientContract, chance: random.Random, *, light: bool = False) -> Brain:
    """A brain by name. "auto": the title's own where there is one and the bot keeps a picture, else random.

    Raises ValueError for a name that is not in BRAINS, and KeyError or ValueError where a title's brain meets another
    title.
    """
    if name == "auto":
        name = contract.title if contract.title in _BY_NAME and not light else "random"
    if name not in _BY_NAME:
        raise ValueError(f"no brain {name!r}; there are {', '.join(BRAINS)}")
    return _BY_NAME[name](contract, chance)
