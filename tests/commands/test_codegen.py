"""Generated clients: what is written compiles in its language, whatever a title calls its things."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from overworld.__main__ import main
from overworld.client.mirror import Avatar, Seen
from overworld.commands.codegen import csharp, python, typescript
from overworld.commands.codegen.definitions import Definitions, InputDefinition, KindDefinition, Value
from overworld.commands.codegen.languages import code_of
from overworld.commands.title_loader import load_title
from tests.parts.csharp import compile_csharp

ROOT = Path(__file__).resolve().parents[2]
JS = ROOT / "clients" / "js"
GOLDEN = Path(__file__).parent / "generated"
TITLES = ("frontier", "duel", "roam")

# ---------------------------------------------------------------- titles that call their things as they like

TAKEN = """
    id Id ID cell kind Kind values Values of KIND Number NUMBER constructor toString GetHashCode Equals x X at fire_tick
    fireTick FireTick int_ Int self cls Entities Owners Inputs Client whole outdated Definitions System größe 速度 a-b
"""
HOSTILE = {"", " ", "\n", "\\", '"""', "*/", "</summary>", "$CLIENT", "${x}", "__proto__", "a\u2028b"}
WORDS = sorted(python.RESERVED | typescript.RESERVED | csharp.RESERVED | set(TAKEN.split()) | HOSTILE)
NAMES = st.one_of(st.sampled_from(WORDS), st.text(max_size=8), st.from_regex(r"[A-Za-z_]{1,3}", fullmatch=True))


def values(most: int) -> st.SearchStrategy[tuple[Value, ...]]:
    value = st.builds(
        lambda name, low, size, modulo: Value(name, low, low + size, modulo),
        NAMES, st.integers(-(2**30) + 1, 0), st.integers(0, 2**30 - 1), st.sampled_from((0, 256)),
    )  # fmt: skip
    return st.lists(value, max_size=most, unique_by=lambda v: v.name).map(tuple)


@st.composite
def some_definitions(draw: st.DrawFn) -> Definitions:
    kinds = []
    for number, name in enumerate(draw(st.lists(NAMES, max_size=3, unique=True))):
        columns, split = draw(values(6)), draw(st.integers(0, 6))
        motion = (Value("x", 0, 0, 0, 256, True), Value("vx", 0, 0, 0, 256, False, True))
        # No column is called like what stands beside it: titles may not, and `unique_by` sees to the rest.
        plain = tuple(v for v in columns if v.name not in ("x", "vx", "id", "cell", "shard", "kind"))
        kinds.append(KindDefinition(number, name, motion + plain[:split], plain[split:]))
    inputs = [
        InputDefinition(number, name, draw(values(4)))
        for number, name in enumerate(draw(st.lists(NAMES, max_size=3, unique=True)))
    ]
    return Definitions(draw(NAMES), draw(st.integers(0, 99)), "c0ffee", tuple(kinds), tuple(inputs))


def imported(text: str) -> types.ModuleType:
    """A generated module, run."""
    module = types.ModuleType("generated_by_a_test")
    sys.modules[module.__name__] = module
    try:
        exec(compile(text, "generated.py", "exec"), module.__dict__)
    finally:
        del sys.modules[module.__name__]
    return module


def classes_in_order(module: types.ModuleType) -> list[Any]:
    return [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__]


@settings(max_examples=300)
@given(definitions=some_definitions())
def test_python_runs_and_holds_every_value_under_some_name(definitions: Definitions) -> None:
    classes = classes_in_order(imported(python.python(definitions)))
    expected = sum(1 + bool(k.owner) for k in definitions.kinds) + len(definitions.inputs) + 1
    assert len(classes) == expected
    for kind in definitions.kinds:
        count = len(kind.columns)
        made = classes.pop(0).of(Seen(7, kind.number, 3, tuple(range(100, 100 + count))))
        assert list(vars(made).values()) == [7, 3, *range(100, 100 + count)]
        if kind.owner:
            made = classes.pop(0).of(Avatar(7, kind.number, tuple(range(len(kind.owner)))))
            assert list(vars(made).values()) == list(range(len(kind.owner)))
    for command in definitions.inputs:
        made = classes.pop(0)
        assert made(*(v.maximum for v in command.fields)).values() == [v.maximum for v in command.fields]
        for at, v in enumerate(command.fields):
            beyond = [f.minimum - (i == at) for i, f in enumerate(command.fields)]
            with pytest.raises(ValueError, match=re.escape(f"is {v.minimum - 1}, must lie")):
                made(*beyond).values()


def tsc(folder: Path, *names: str) -> None:
    """Strict, with the client's own types in sight. Raises AssertionError with what it says."""
    config = {
        "compilerOptions": {
            "strict": True, "noEmit": True, "target": "ES2022", "module": "NodeNext", "moduleResolution": "NodeNext",
            "lib": ["ES2023", "DOM"], "types": [], "noUnusedLocals": True, "skipLibCheck": False, "allowJs": True,
            "maxNodeModuleJsDepth": 0, "paths": {"@overworld/client": [str(JS / "src" / "index.js")]},
        },
        "files": [str(folder / name) for name in names],
    }  # fmt: skip
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "tsconfig.json").write_text(json.dumps(config))
    argv = [str(ROOT / ".venv" / "bin" / "node"), str(JS / "node_modules" / "typescript" / "bin" / "tsc"), "-p", "."]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[:4000]


ONCE = settings(max_examples=2, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate))


class Batch(list[Definitions]):
    """Many at once, for a compiler takes seconds to start; it says which one it stumbled over."""

    def __repr__(self) -> str:
        return f"{len(self)} titles"


MANY = st.lists(some_definitions(), min_size=12, max_size=12).map(Batch)


@ONCE
@given(many=MANY)
def test_typescript_passes_strict(many: list[Definitions], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("typescript")
    names = [f"t{i}.ts" for i in range(len(many))]
    for name, definitions in zip(names, many, strict=True):
        (folder / name).write_text(typescript.typescript(definitions), encoding="utf-8", errors="surrogatepass")
    tsc(folder, *names)


@ONCE
@given(many=MANY)
def test_csharp_compiles(many: list[Definitions], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("csharp")
    for i, definitions in enumerate(many):
        text = csharp.csharp(definitions)
        assert text.isascii()
        space = re.search(r"^namespace Overworld\.Titles\.(\w+)$", text, re.MULTILINE)
        assert space is not None
        assert space[1] not in csharp.RESERVED
        # Side by side in one program, each in a namespace of its own.
        (folder / f"t{i}.cs").write_text(text.replace(space[0], f"{space[0]}.N{i}"))
    compile_csharp(folder / "all.dll", sorted(folder.glob("t*.cs")))


# ---------------------------------------------------------------- our own titles


@pytest.mark.parametrize("title", TITLES)
def test_the_command_writes_a_file_and_says_where(title: str, tmp_path: Path) -> None:
    for language in ("typescript", "python", "csharp"):
        done = CliRunner().invoke(
            main, ["codegen", "--title", title, "--language", language, "--out", str(tmp_path / "new")]
        )
        assert done.exit_code == 0, done.output
        file, text = code_of(load_title(title), language)
        assert Path(done.output.strip()) == tmp_path / "new" / file
        assert (tmp_path / "new" / file).read_text() == text


def test_the_csharp_of_frontier_is_what_was_reviewed() -> None:
    file, text = code_of(load_title("frontier"), "csharp")
    again = f"overworld codegen --title frontier --language csharp --out {GOLDEN.relative_to(ROOT)}"
    assert text == (GOLDEN / file).read_text(encoding="utf-8"), f"another text now: {again}"


def test_the_csharp_of_our_titles_runs(tmp_path: Path) -> None:
    """Mono compiles it, and a program reads a ship, makes a command, and is refused one out of range."""
    program = tmp_path / "Program.cs"
    program.write_text(
        """
        using System;
        using Overworld.Titles.Frontier;
        static class Program {
          static int Main() {
            var ship = new Ship(7, new long[] { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 });
            Console.WriteLine(ship.Id + " " + ship.X + " " + ship.Hp + " " + ship.LanceAngle + " " + Ship.UnitsPerOne);
            Console.WriteLine(string.Join(",", new Steer(turn: 1, thrust: -1, fire: 0).Values()));
            Console.WriteLine(Definitions.Fit("frontier", Definitions.Digest) + " " + Definitions.Fit("frontier", "x"));
            try { new Steer(2, 0, 0); return 1; } catch (ArgumentOutOfRangeException) { Console.WriteLine("refused"); }
            try { new Ship(7, new long[3]); return 1; } catch (ArgumentException) { Console.WriteLine("refused"); }
            return 0;
          }
        }
        """
    )
    sources = [program]
    for title in TITLES:
        file, text = code_of(load_title(title), "csharp")
        sources.append(tmp_path / file)
        sources[-1].write_text(text)
    executable = tmp_path / "program.exe"
    compile_csharp(executable, sources)
    done = subprocess.run(["mono", executable], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.split("\n")) == (
        0, ["7 1 6 10 256", "1,-1,0", "True False", "refused", "refused", ""]
    )  # fmt: skip


def test_protoc_writes_our_messages_in_csharp(tmp_path: Path) -> None:
    """The messages themselves are protoc's business: it knows every one. (Not compiled: that takes Google.Protobuf.)"""
    proto = "overworld/wire/v1/client.proto"
    protoc = shutil.which("protoc")
    assert protoc is not None, "no protoc that knows C#: apt-get install protobuf-compiler (as root, `make setup` does)"
    argv = [protoc, f"--proto_path={ROOT / 'proto'}", f"--csharp_out={tmp_path}", proto]
    subprocess.run(argv, timeout=60, check=True)
    text = (tmp_path / "Client.cs").read_text(encoding="utf-8-sig")
    assert "namespace Overworld.Wire.V1 {" in text
    for message in ("ClientMessage", "Hello", "Input", "Frame", "Cell", "Welcome", "Own"):
        assert f"public sealed partial class {message} : pb::IMessage<{message}>" in text
    assert "public string Definitions {" in text


CONSUMER = """
import { connect } from '@overworld/client'
import { FrontierClient, KINDS, outdated, steer, type AnyEntity, type Ship } from './frontier.js'

const client = connect({ title: 'frontier', ticket: () => ({ token: 't', urls: ['ws://127.0.0.1:1/play'] }) })
const game = new FrontierClient(client)
client.on('welcome', (welcome) => { const why: string | null = outdated(welcome); if (why) client.bye() })
game.onAdd((entity: AnyEntity) => {
  if (entity.kind !== 'Ship') return
  const ship: Ship = entity
  console.log(ship.hp / 100, ship.x / KINDS.Ship.x.unitsPerOne)
})
const ships = game.table('Ship')
const energy: number | undefined = game.own('Ship')?.energy
const xs: Float64Array = ships.columns.x, hps: Int32Array = ships.columns.hp
game.send(steer({ turn: 1, thrust: 1, fire: 0 }))
console.log(xs, hps, energy, KINDS.Ship.heading.modulo)
"""


@pytest.mark.parametrize("title", TITLES)
def test_typescript_of_our_titles_passes_strict(title: str, tmp_path: Path) -> None:
    file, text = code_of(load_title(title), "typescript")
    (tmp_path / file).write_text(text)
    tsc(tmp_path, file)


def test_a_program_over_frontiers_types_passes_strict_and_wrong_ones_do_not(tmp_path: Path) -> None:
    file, text = code_of(load_title("frontier"), "typescript")
    (tmp_path / file).write_text(text)
    (tmp_path / "good.ts").write_text(CONSUMER)
    tsc(tmp_path, "good.ts")
    wrong = {
        "steer({ turn: 1, thrust: 1, fire: 0 })": "steer({ turn: 1, thrust: 1 })",
        "ship.hp / 100": "ship.armour / 100",
        "game.table('Ship')": "game.table('Shipp')",
        "?.energy": "?.hp",
    }
    for number, (right, mistake) in enumerate(wrong.items()):
        assert right in CONSUMER
        (tmp_path / f"bad{number}.ts").write_text(CONSUMER.replace(right, mistake))
    with pytest.raises(AssertionError) as said:
        tsc(tmp_path, *(f"bad{number}.ts" for number in range(len(wrong))))
    assert {n for n in range(len(wrong)) if f"bad{n}.ts" in str(said.value)} == set(range(len(wrong)))


def test_python_of_our_titles_passes_mypy_strict(tmp_path: Path) -> None:
    for title in TITLES:
        file, text = code_of(load_title(title), "python")
        (tmp_path / file).write_text(text)
    (tmp_path / "bot.py").write_text(
        "from frontier import FrontierClient, Ship, ShipOwner, Steer\n"
        "def play(game: FrontierClient) -> int:\n"
        "    game.send(Steer(thrust=1))\n"
        "    own = game.own(ShipOwner)\n"
        "    return sum(ship.hp for ship in game.every(Ship)) + (own.energy if own is not None else 0)\n"
    )
    argv = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-incremental",
        "--config-file=",
        "bot.py",
        "duel.py",
        "roam.py",
    ]
    path = {"MYPYPATH": str(ROOT / "server"), "PATH": ""}
    done = subprocess.run(argv, cwd=tmp_path, env=path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout
