"""What several of the client's tests need."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import overworld


@pytest.fixture(scope="session")
def specification() -> str:
    """The text of proto/README.md."""
    return (Path(overworld.__file__).parents[2] / "proto" / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def seed() -> int:
    """Another one every time; a failing test's report shows it among the arguments."""
    return random.SystemRandom().randrange(2**31)
