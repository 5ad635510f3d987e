"""A ship's motion is told three times: to the server in columns, to Python clients and to the page. All agree."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from overworld.game import Grid, cosines, sines
from overworld.titles.frontier import Frontier, Ship, Steer
from overworld.titles.frontier.kinds import DEAD
from overworld.titles.frontier.prediction import PREDICTED, Columns, flight_rule
from overworld.titles.frontier.rules import rules_of
from tests.titles.play import Play

ROOT = Path(__file__).resolve().parents[2]
PAGE_RULE = ROOT / "server" / "overworld" / "gateway" / "web" / "game" / "prediction.js"
GRID = Grid(width=64, height=96, cell=32, shards=(1, 1), view=64)
OTHER_GRID = Grid(width=96, height=64, cell=32, shards=(1, 1), view=64, tick_hz=30, units_per_one=256)
PLAY_IN_NODE = """
import { readFileSync } from 'node:fs'
const { flightRule, sine, cosine } = await import(process.argv[1])
const { space, ship, inputs } = JSON.parse(readFileSync(0, 'utf8'))
const rule = flightRule(space)
const states = []
let now = ship
for (const commands of inputs) states.push((now = rule(now, commands.map((fields) => ({ kind: 'Steer', fields })))))
const waves = Array.from({ length: 256 }, (_, angle) => [cosine(angle), sine(angle)])
process.stdout.write(JSON.stringify({ states, waves }))
"""

hands = st.fixed_dictionaries({"turn": st.integers(-1, 1), "thrust": st.integers(-1, 1), "fire": st.just(0)})
scripts = st.lists(st.lists(hands, max_size=3), min_size=1, max_size=80)


def ship_of(play: Play) -> Columns:
    ships = play[Ship]
    kind = ships.kind
    names = (*kind.replicated, *(c.name for c in kind.owner))
    values = {name: int(ships.columns[kind.names.index(name), 0]) for name in names}
    assert set(PREDICTED) <= values.keys(), "the rule may depend on nothing that its owner is not told"
    return values


def placed(x: int, y: int, vx: int, vy: int, heading: int, grid: Grid) -> Play:
    play = Play(Frontier(), grid=grid, set_up=False)
    play.join(1)
    play.tick()
    ships = play[Ship]
    ships.at.x, ships.at.y, ships.at.vx, ships.at.vy = x, y, vx, vy
    ships.heading = heading
    return play


def predicted(ship: Columns) -> Columns:
    return {name: ship[name] for name in PREDICTED}


@given(
    st.integers(0, 64 * 256 - 1), st.integers(0, 96 * 256 - 1),
    st.integers(-900, 900), st.integers(-900, 900), st.integers(0, 255), scripts,
)  # fmt: skip
@settings(max_examples=40)
def test_the_rule_says_what_the_server_does(
    x: int, y: int, vx: int, vy: int, heading: int, script: list[list[dict[str, int]]]
) -> None:
    play = placed(x, y, vx, vy, heading, GRID)
    rule, ship = flight_rule(GRID), ship_of(play)
    for commands in script:
        ship = rule(ship, [("Steer", fields) for fields in commands])
        play.tick([(1, Steer, [fields["turn"], fields["thrust"], 0]) for fields in commands])
        assert predicted(ship) == predicted(ship_of(play))


def test_a_dead_ship_goes_nowhere() -> None:
    play = placed(5000, 5000, 0, 0, 7, GRID)
    play[Ship].flags, play[Ship].respawn_tick = DEAD, 10_000
    before = ship_of(play)
    play.tick([(1, Steer, [1, 1, 0])])
    rule = flight_rule(GRID)
    after = rule(before, [("Steer", {"turn": 1, "thrust": 1, "fire": 0})])
    assert predicted(after) == predicted(ship_of(play))
    assert (after["x"], after["heading"]) == (5000, 7)


def test_the_page_says_the_same() -> None:
    seed = random.SystemRandom().randrange(2**31)
    for grid in (GRID, OTHER_GRID, Frontier.world):
        chance = random.Random(seed)
        _, _, width, height = grid.world_bounds
        ship: Columns = {
            "x": chance.randrange(width), "y": chance.randrange(height), "vx": chance.randint(-900, 900),
            "vy": chance.randint(-900, 900), "heading": chance.randrange(256), "turn": 0, "thrust": 0, "flags": 0,
        }  # fmt: skip
        script = [
            [{"turn": chance.randint(-1, 1), "thrust": chance.choice((-1, 0, 1, 1)), "fire": 0}]
            if chance.random() < 0.2
            else []
            for _ in range(3000)
        ]
        space = {"one": grid.units_per_one, "hz": grid.tick_hz, "width": width, "height": height}
        answer = in_node({"space": space, "ship": ship, "inputs": script})
        rule, now = flight_rule(grid), ship
        for tick, (commands, theirs) in enumerate(zip(script, answer["states"], strict=True)):
            now = rule(now, [("Steer", fields) for fields in commands])
            assert theirs == now, f"tick {tick} of seed {seed}"
        every = np.arange(256)
        assert answer["waves"] == np.stack((cosines(every), sines(every)), axis=1).tolist()


def test_the_rule_knows_the_speeds_of_other_worlds() -> None:
    assert rules_of(OTHER_GRID).ship_speed == 40 * 256 // 30


def in_node(question: dict[str, Any]) -> Any:
    chosen = ROOT / ".venv" / "bin" / "node"
    node = str(chosen) if chosen.exists() else shutil.which("node")
    assert node, "no Node found; run `make setup`"
    ran = subprocess.run(
        [node, "--experimental-default-type=module", "--input-type=module", "--eval", PLAY_IN_NODE, str(PAGE_RULE)],
        input=json.dumps(question), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)
