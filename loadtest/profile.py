"""Where the time goes: a flame graph (SVG) and a speedscope file of each process of a running load, by py-spy.

    make profile                                        # 300 players of roam for 10 s
    make profile ARGS="--players 1500 --title frontier --seconds 20 --native"

Open *.svg in a browser, *.speedscope.json at speedscope's page. `--native` stops each process for a moment at every
sample. Linux wants ptrace: root, or kernel.yama.ptrace_scope = 0.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from loadtest.cluster import Cluster, Shape
from loadtest.crowd import Crowd, Order
from loadtest.machine import REPOSITORY
from loadtest.peers.worlds import Workload
from loadtest.worlds import world_of

JOIN_S = 120.0
WARM_S = 2.0
PY_SPY_MORE_S = 60.0
SOCKETS = {"OVERWORLD_GATEWAY_SOCKETS_MAX": "8000", "OVERWORLD_GATEWAY_SOCKETS_PER_ADDRESS_MAX": "20000"}
FORMATS = {"flamegraph": "svg", "speedscope": "speedscope.json"}


class ProfileFailed(Exception):
    """py-spy gave no profile; the message is what it said."""


@dataclass(frozen=True)
class Settings:
    """What to look at. `title` empty: roam for so many players, 40 in view. `rate`: samples a second. `native`: frames
    of C extensions too, and of the interpreter. `gil`: only threads that hold the interpreter's lock. `light`: bots do
    not decode cells.
    """

    players: int = 300
    title: str = ""
    shards: str = ""
    workers: int = 1
    gateways: int = 1
    seconds: int = 10
    rate: int = 200
    native: bool = False
    gil: bool = False
    light: bool = True
    output: str = "loadtest-results/profile"


async def profile(settings: Settings) -> list[Path]:
    """Start a load, sample every process of it, and return the files written. Raises ProfileFailed."""
    folder = REPOSITORY / settings.output
    folder.mkdir(parents=True, exist_ok=True)
    title = settings.title or Workload("B", settings.players).title
    shape = Shape(settings.workers, settings.gateways, title, shards=settings.shards, gateway_env=SOCKETS)
    with tempfile.TemporaryDirectory(prefix="overworld-profile-") as work:
        async with Cluster(Path(work), shape) as cluster:
            order = Order(
                tuple(gateway.play_url for gateway in cluster.gateways), world_of(shape)[0].title, cluster.key,
                shape.world, settings.players, brain="random" if not settings.title else "auto", light=settings.light,
            )  # fmt: skip
            crowd = await Crowd(order, Path(work) / "bots.log").start()
            await crowd.all_playing(JOIN_S)
            await asyncio.sleep(WARM_S)
            pids = {node.name: node.process.pid for node in cluster.nodes} | {"bots": crowd.pid}
            return await sample(settings, pids, folder)


async def sample(settings: Settings, pids: Mapping[str, int], folder: Path) -> list[Path]:
    """All processes at once, one format after the other. Raises ProfileFailed."""
    written: list[Path] = []
    for form, ending in FORMATS.items():
        targets = {name: folder / f"{name}.{ending}" for name in pids}
        for path in targets.values():
            path.unlink(missing_ok=True)
        await asyncio.gather(*(_record(settings, pids[name], form, path) for name, path in targets.items()))
        written += targets.values()
    for path in written:
        if not path.exists():
            raise ProfileFailed(f"py-spy wrote no {path.name}")
    return written


async def _record(settings: Settings, pid: int, form: str, path: Path) -> None:
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if program is None:
        raise ProfileFailed("py-spy is not installed: it is among the development tools (make setup)")
    argv = [
        program, "record", "--pid", str(pid), "--format", form, "--output", str(path), "--duration",
        str(settings.seconds), "--rate", str(settings.rate), "--nonblocking" if not settings.native else "--native",
        *(["--gil"] if settings.gil else []),
    ]  # fmt: skip
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*argv, stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(settings.seconds + PY_SPY_MORE_S):
            _, said = await child.communicate()
    except TimeoutError:
        child.kill()
        await child.wait()
        raise ProfileFailed(f"py-spy did not end within {settings.seconds + PY_SPY_MORE_S:.0f} s") from None
    if child.returncode != 0:
        raise ProfileFailed(f"py-spy ended with {child.returncode}:\n{said.decode(errors='replace')}")


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.profile", description=(__doc__ or "").partition("\n")[0])
    for name, default in vars(Settings()).items():
        flag = f"--{name}"
        if isinstance(default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=default)
        else:
            parser.add_argument(flag, type=type(default), default=default)
    try:
        written = asyncio.run(profile(Settings(**vars(parser.parse_args(arguments)))))
    except ProfileFailed as error:
        print(error, file=sys.stderr)
        return 1
    for path in written:
        print(path.relative_to(REPOSITORY) if path.is_relative_to(REPOSITORY) else path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
