"""What bots do, a small class each: which input next, and how they come and go. Pure: chance is an argument.

A behaviour sees what its bot sees: the whole picture where the bot is sampled or `sees` is set, else only ticks, acks
and what the owner is told of the avatar.
"""

from __future__ import annotations

import enum
import math
import random
from dataclasses import dataclass
from typing import ClassVar

from overworld.client.brains import FrontierBrain
from overworld.client.contract import ClientContract, InputLayout
from overworld.client.mirror import LightMirror, Mirror

Command = tuple[int, tuple[int, ...]]
"""An input's number and values in wire order."""
_TURN = 256


class Exit(enum.Enum):
    """How a visit ends."""

    BYE = "bye"
    """The player says goodbye; the next visit is a new login of the same account."""
    DROP = "drop"
    """The socket vanishes, as on a lost line; the session is taken up again."""


@dataclass(frozen=True)
class Visit:
    """How long a bot plays, how it goes, and how long it stays away."""

    play_s: float
    exit: Exit
    away_s: float


class Behaviour:
    """Plays any title: a random input out of those it declares. The others know this repository's titles better."""

    sees: ClassVar[bool] = False
    """True where every bot needs the whole picture: five times the load generator's CPU."""

    def __init__(self, contract: ClientContract, chance: random.Random) -> None:
        self.contract = contract
        self.chance = chance

    def decide(self, mirror: LightMirror) -> Command | None:  # noqa: ARG002 - looks at nothing
        """The next input; None: leave the hands where they are."""
        kinds = [kind for kind in self.contract.inputs if kind.fields]
        return _random_of(self.chance.choice(kinds), self.chance) if kinds else None

    @classmethod
    def visit(cls, chance: random.Random) -> Visit | None:  # noqa: ARG003 - stays
        """The next visit; None: stays to the end of the run."""
        return None


class Wander(Behaviour):
    """A new heading now and then, as people steer."""

    def decide(self, mirror: LightMirror) -> Command | None:
        """Roam: any heading. Frontier: turn and thrust, no fire."""
        steer, heading = self._input("Steer"), self._input("Heading")
        if steer is not None:
            return _of(steer, turn=self.chance.randint(-1, 1), thrust=self.chance.randint(0, 1))
        if heading is not None:
            return _of(heading, angle=self.chance.randrange(_TURN), on=1)
        return super().decide(mirror)

    def _input(self, name: str) -> InputLayout | None:
        return next((kind for kind in self.contract.inputs if kind.name == name), None)


class Idle(Behaviour):
    """Looks on."""

    def decide(self, mirror: LightMirror) -> Command | None:  # noqa: ARG002
        """Nothing."""
        return None


class BorderCrossing(Wander):
    """Straight on and back, over every border in the way: headings along the axes."""

    def decide(self, mirror: LightMirror) -> Command | None:
        """Seldom anything else than full speed ahead."""
        steer, heading = self._input("Steer"), self._input("Heading")
        if steer is not None:
            turn = self.chance.choice((-1, 0, 0, 0, 0, 1))
            return _of(steer, turn=turn, thrust=1)
        if heading is not None:
            axis = self.chance.randrange(4) * (_TURN // 4)
            return _of(heading, angle=(axis + self.chance.randint(-4, 4)) % _TURN, on=1)
        return super().decide(mirror)


class Crowd(Wander):
    """Everybody goes to the middle of the world, and mills about there."""

    sees = True

    def decide(self, mirror: LightMirror) -> Command | None:
        """Towards the middle; close to it, anywhere."""
        own = mirror.own() if isinstance(mirror, Mirror) else None
        if own is None or len(own.values) < 2:
            return super().decide(mirror)
        size = self.contract.cell_size
        x, y = self.contract.cells_x * size / 2 - own.values[0], self.contract.cells_y * size / 2 - own.values[1]
        if math.hypot(x, y) < size:
            return super().decide(mirror)
        angle = round(math.atan2(y, x) / math.tau * _TURN) % _TURN
        heading, steer = self._input("Heading"), self._input("Steer")
        if heading is not None:
            return _of(heading, angle=angle, on=1)
        kind = self.contract.kinds[own.kind]
        if steer is not None and "heading" in kind.index:
            off = (angle - own.values[kind.index["heading"]] + _TURN // 2) % _TURN - _TURN // 2
            return _of(steer, turn=0 if abs(off) < 8 else (1 if off > 0 else -1), thrust=1 if abs(off) < 64 else 0)
        return super().decide(mirror)


class Battle(Wander):
    """Frontier: sampled bots hunt, the others turn, thrust and fire."""

    def __init__(self, contract: ClientContract, chance: random.Random) -> None:
        super().__init__(contract, chance)
        self._hunter = FrontierBrain(contract, chance) if contract.title == "frontier" else None

    def decide(self, mirror: LightMirror) -> Command | None:
        """Fight."""
        if self._hunter is not None and isinstance(mirror, Mirror):
            return self._hunter.decide(mirror).command
        steer = self._input("Steer")
        if steer is None:
            return super().decide(mirror)
        return _of(steer, turn=self.chance.randint(-1, 1), thrust=self.chance.randint(-1, 1), fire=1)


class LoginStorm(Wander):
    """Comes, plays for a few seconds, says goodbye, and comes again."""

    @classmethod
    def visit(cls, chance: random.Random) -> Visit | None:
        """Short."""
        return Visit(chance.uniform(2, 6), Exit.BYE, chance.uniform(0.2, 1.5))


class ReconnectStorm(Wander):
    """Loses its line every few seconds and takes its session up again."""

    @classmethod
    def visit(cls, chance: random.Random) -> Visit | None:
        """Short, too."""
        return Visit(chance.uniform(2, 8), Exit.DROP, chance.uniform(0.0, 0.5))


BEHAVIOURS: dict[str, type[Behaviour]] = {
    "any": Behaviour,
    "wander": Wander,
    "idle": Idle,
    "crowd": Crowd,
    "battle": Battle,
    "border-crossing": BorderCrossing,
    "login-storm": LoginStorm,
    "reconnect-storm": ReconnectStorm,
}


def _of(kind: InputLayout, **fields: int) -> Command:
    return kind.number, tuple(kind.values(fields))


def _random_of(kind: InputLayout, chance: random.Random) -> Command:
    return kind.number, tuple(chance.randint(low, high) for _, low, high in kind.fields)
