"""Makes server/overworld/wire/v1/*_pb2.py and .pyi from proto/overworld/wire/v1/*.proto.

`python proto/generate.py` writes them; `python proto/generate.py --check` makes them in a temporary folder instead and
compares, so that a change of a .proto without its generated code does not go unnoticed.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "proto"
SERVER = ROOT / "server"
PATTERNS = ("*_pb2.py", "*_pb2.pyi")


def generate(into: Path) -> None:
    """Run protoc for every .proto of the repository; paths below `into` mirror those below proto/."""
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    plugin = shutil.which("protoc-gen-mypy", path=str(Path(sys.executable).parent))
    if plugin is None:
        raise SystemExit("proto: protoc-gen-mypy is not installed beside this Python; run `make setup`")
    arguments = [
        "protoc",
        f"--proto_path={PROTOS}",
        f"--proto_path={files('grpc_tools') / '_proto'}",
        f"--plugin=protoc-gen-mypy={plugin}",
        f"--python_out={into}",
        f"--mypy_out=quiet:{into}",
        *sources,
    ]
    status = protoc.main(arguments)
    if status != 0:
        raise SystemExit(f"proto: protoc ended with status {status}")


def generated(root: Path) -> dict[str, bytes]:
    """Contents of the generated files below `root`, by relative path."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for pattern in PATTERNS
        for path in sorted((root / "overworld").rglob(pattern))
    }


def stale() -> list[str]:
    """Paths below server/ that differ from what the .proto files generate now."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh, committed = generated(Path(folder)), generated(SERVER)
    return sorted(path for path in fresh.keys() | committed.keys() if fresh.get(path) != committed.get(path))


def main() -> None:
    if sys.argv[1:] == ["--check"]:
        if wrong := stale():
            raise SystemExit(f"proto: not what the .proto files generate: {', '.join(wrong)}; run `make proto`")
        print("proto: generated code is fresh")
    elif not sys.argv[1:]:
        for path in generated(SERVER):
            (SERVER / path).unlink()
        generate(SERVER)
        print(f"proto: wrote {len(generated(SERVER))} files below server/overworld/wire/v1")
    else:
        raise SystemExit("usage: generate.py [--check]")


if __name__ == "__main__":
    main()
