"""Kills what its starter left behind: `python -m loadtest.reaper`, told "+<group>" and "-<group>" on standard input.

When the input ends (the starter is gone, however it died) every process group still listed is killed. Groups, not
names: it ends nothing that its starter did not start.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import IO


def watch(lines: IO[str]) -> set[int]:
    """Read the list until it ends. Returns the groups still on it."""
    groups: set[int] = set()
    for line in lines:
        group = int(line[1:])
        if line.startswith("+"):
            groups.add(group)
        else:
            groups.discard(group)
    return groups


def main() -> None:
    """Outlive an interrupt from the terminal: the starter decides when it is over."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for group in watch(sys.stdin):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
