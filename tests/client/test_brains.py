"""Brains: what they decide from what they see, and whether they play the real title well."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from overworld.client.brains import BRAINS, FrontierBrain, IdleBrain, RandomBrain, brain_for
from overworld.client.contract import ClientContract, read_welcome
from overworld.client.mirror import LightMirror, Mirror
from overworld.game import contract_of
from overworld.titles.frontier import Crystal, Drone, Frontier, Ship, Steer
from overworld.wire.v1 import client_pb2 as pb
from tests.client.worlds import welcome, welcome_of
from tests.titles.play import Command, Play

DEMO = read_welcome(welcome())
WELCOME = welcome_of(contract_of(Frontier(), "main"))
FRONTIER = read_welcome(WELCOME)
UNIT = 256
DEAD = 4


class Screen:
    """What one player of frontier sees, put there by hand. Its own ship is number 1, at (100, 100), looking along x."""

    def __init__(self, flags: int = 0) -> None:
        self.mirror = Mirror()
        self.rows: dict[tuple[int, str], dict[str, int]] = {}
        self.put(1, "Ship", 100, 100, flags=flags)

    def put(self, entity: int, kind: str, x: int, y: int, **columns: int) -> None:
        self.rows[(entity, kind)] = {"x": x * UNIT, "y": y * UNIT, **columns}

    def look(self) -> Mirror:
        grid = WELCOME.grid
        frame = pb.Frame(welcomes=[WELCOME], heads=[pb.TickHead(shard=0, epoch=1, tick=1)])
        frame.owns.add(entity=1, kind=FRONTIER.kind("Ship"), values=[12, 0, 0])
        view = frame.views.add()
        for (entity, name), row in self.rows.items():
            kind = FRONTIER.kind(name)
            cx, cy = row["x"] // grid.cell_size, row["y"] // grid.cell_size
            cell = cy * grid.cells_x + cx
            values = dict(row, x=row["x"] - cx * grid.cell_size, y=row["y"] - cy * grid.cell_size)
            frame.keyframes.add(
                cell=cell, kind=kind, added=[entity], columns=[values.get(c, 0) for c in FRONTIER.kinds[kind].columns]
            )
            if cell not in view.entered:
                view.entered.append(cell)
        self.mirror.apply(frame)
        return self.mirror

    def hands(self) -> dict[str, int] | None:
        command = FrontierBrain(FRONTIER, random.Random(1)).decide(self.look()).command
        names = [name for name, _, _ in FRONTIER.input("Steer").fields]
        return dict(zip(names, command[1], strict=True)) if command is not None else None


@pytest.mark.parametrize(
    ("x", "y", "turn", "thrust"), [(160, 100, 0, 1), (100, 150, 1, -1), (100, 50, -1, -1), (140, 110, 1, 1)]
)
def test_a_pilot_turns_to_the_crystal_and_flies_there(x: int, y: int, turn: int, thrust: int) -> None:
    screen = Screen()
    screen.put(7, "Crystal", x, y, value=10)
    assert screen.hands() == {"turn": turn, "thrust": thrust, "fire": 0}


def test_a_pilot_shoots_at_the_ship_ahead_and_spares_the_protected_and_the_dead() -> None:
    screen = Screen()
    screen.put(2, "Ship", 130, 100)
    assert screen.hands() == {"turn": 0, "thrust": 1, "fire": 1}
    for flags in (1, DEAD):
        screen = Screen()
        screen.put(2, "Ship", 130, 100, flags=flags)
        hands = screen.hands()
        assert hands is not None
        assert hands["fire"] == 0


def test_a_dead_pilot_waits() -> None:
    assert Screen(flags=DEAD).hands() is None


def test_random_bots_stay_within_the_declared_bounds_and_repeat_from_their_seed() -> None:
    def decisions(seed: int) -> list[tuple[int, tuple[int, ...]] | None]:
        brain = RandomBrain(DEMO, random.Random(seed))
        return [brain.decide(LightMirror()).command for _ in range(100)]

    assert decisions(3) == decisions(3) != decisions(4)
    for command in decisions(3):
        assert command is not None
        DEMO.inputs[command[0]].check(list(command[1]))
    assert {command[0] for command in decisions(3) if command is not None} == {0, 1}


def test_brains_by_name() -> None:
    chance = random.Random(1)
    assert isinstance(brain_for("auto", FRONTIER, chance), FrontierBrain)
    assert isinstance(brain_for("auto", FRONTIER, chance, light=True), RandomBrain)
    assert isinstance(brain_for("auto", DEMO, chance), RandomBrain)
    assert isinstance(brain_for("idle", DEMO, chance), IdleBrain)
    with pytest.raises(ValueError, match=f"there are {', '.join(BRAINS)}"):
        brain_for("clever", DEMO, chance)


def test_a_title_without_inputs_can_be_watched() -> None:
    bare: ClientContract = replace(DEMO, inputs=())
    assert RandomBrain(bare, random.Random(1)).decide(LightMirror()).command is None


# ---------------------------------------------------------------- the real title

PILOTS = range(1, 9)


class Watched:
    """A real shard of frontier, and a mirror that is given everything it sends."""

    def __init__(self) -> None:
        self.play = Play(Frontier())
        self.play.join(*PILOTS)
        self.cells = [c for c in range(FRONTIER.cell_count) if FRONTIER.shard_of(c) == 0]
        self.mirrors = {pilot: Mirror() for pilot in PILOTS}

    def tick(self, commands: list[Command]) -> None:
        """One tick of the server, and what every pilot sees of it. All pilots see everything."""
        first = self.play.core.tick == 0
        outcome = self.play.tick(commands)
        updates = self.play.core.encode()
        head = pb.Frame(heads=[pb.TickHead(shard=0, epoch=1, tick=self.play.core.tick)]).SerializeToString()
        data = head + updates.data
        if first:
            view = pb.Frame(welcomes=[WELCOME], views=[pb.View(entered=self.cells)]).SerializeToString()
            data = head + view + self.play.core.keyframes(np.array(self.cells)).data
        sessions, sizes, owns = outcome.owns
        at = 0
        own = {}
        for session, size in zip(sessions.tolist(), sizes.tolist(), strict=True):
            own[session] = owns[at : at + size]
            at += size
        for pilot, mirror in self.mirrors.items():
            assert mirror.apply(mirror.parse(data + own.get(pilot, b"")))

    def truth(self) -> list[tuple[int, ...]]:
        """The server's state as `Mirror.picture` has it, without cells."""
        rows = []
        for number, table in enumerate(self.play.shard.tables):
            rows += [(number, i, *row) for i, row in zip(table.ids.tolist(), table.public.T.tolist(), strict=True)]
        return sorted(rows)


def test_pilots_play_the_real_title_by_what_they_see_and_see_what_is_true() -> None:
    world = Watched()
    brains = {pilot: FrontierBrain(FRONTIER, random.Random(pilot)) for pilot in PILOTS}
    due = dict.fromkeys(PILOTS, 1)
    held: dict[int, tuple[int, tuple[int, ...]]] = {}
    world.tick([])
    for tick in range(1, 600):
        commands: list[Command] = []
        for pilot in PILOTS:
            if tick >= due[pilot]:
                decision = brains[pilot].decide(world.mirrors[pilot])
                due[pilot] = tick + max(1, round(decision.again_s * 20))
                if decision.command is not None and held.get(pilot) != decision.command:
                    held[pilot] = decision.command
                    commands.append((pilot, Steer, decision.command[1]))
        world.tick(commands)
        if tick % 20 == 0:
            truth = world.truth()
            for mirror in (world.mirrors[1], world.mirrors[8]):
                assert [(row[0], row[1], *row[3:]) for row in mirror.picture()] == truth
    for pilot in PILOTS:
        own = world.mirrors[pilot].own()
        assert own is not None
        assert own.entity == world.play[Ship].ids[world.play.avatar(pilot, Ship)]
    assert len(world.play[Drone]) > 0
    assert len(world.play[Crystal]) > 0
    scores = world.play[Ship].score
    assert int((scores > 0).sum()) >= 6, scores
