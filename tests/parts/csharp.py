"""Mono's C# compiler, as Debian has it (package mono-mcs)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path


def compile_csharp(target: Path, sources: Sequence[Path]) -> None:
    """Compile a .dll or .exe as C# 7, warnings and all. Raises AssertionError with what the compiler says."""
    mcs = shutil.which("mcs")
    assert mcs is not None, "no C# compiler: install one with `apt-get install mono-mcs` (as root, `make setup` does)"
    kind = "library" if target.suffix == ".dll" else "exe"
    argv = [mcs, "-langversion:7", "-warnaserror", f"-target:{kind}", f"-out:{target}", *map(str, sources)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[:4000]
