"""The client is packed once for all who install it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.javascript.packed import pack


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `npm pack` makes."""
    return pack(tmp_path_factory.mktemp("packed"))
