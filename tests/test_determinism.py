"""The reader that keeps machine-dependent results out of the packages that must replay exactly."""

from __future__ import annotations

import pytest

from tools.determinism import findings

REFUSED = {
    "np.sin(x)": "np.sin",
    "y = np.linalg.norm(x)": "np.linalg",
    "y = a @ b": "BLAS",
    "a @= b": "BLAS",
    "y = a.dot(b)": "BLAS",
    "y = np.power(a, 2)": "np.power",
    "y = math.atan2(a, b)": "math.atan2",
    "from math import sin": "math.sin",
    "from numpy import sin": "import numpy as np",
    "y = id(x)": "processes",
    "y = np.empty(3)": "nobody wrote",
    "y = np.argsort(x)": "ties",
    "y = x.argsort(kind='quicksort')": "ties",
    "y = np.argpartition(x, 3)": "ties",
    "y = np.random.default_rng(1)": "chance",
    "y = hash(x)": "processes",
    "for x in {1, 2}: pass": "order of a set",
    "y = [x for x in set(z)]": "order of a set",
    "y = list(a)\na = set(b)": "order of a set",
    "class A:\n  rows: set[int]\n  def f(self):\n    return tuple(self.rows)": "order of a set",
    "def f(rows: frozenset[int]):\n  for row in rows: pass": "order of a set",
    "a = set(b)\nc = a.pop()": "order of a set",
    "y = [*{1, 2}]": "order of a set",
}

ALLOWED = (
    "y = np.sqrt(x) + np.floor(x) * np.hypot(a, b)",
    "y = np.argsort(x, kind='stable')",
    "order = np.lexsort((ids, cells))",
    "y = math.isqrt(n)",
    "from math import isqrt",
    "y = kinds[id(table)]",
    "for x in sorted({1, 2}): pass",
    "y = x in {1, 2}",
    "y = {1: 2}.pop(1)",
    "y = np.zeros(3)",
    "y = [x for x in rows]",
)


@pytest.mark.parametrize("source", REFUSED)
def test_refuses(source: str) -> None:
    assert any(REFUSED[source] in finding.what for finding in findings(source)), findings(source)


@pytest.mark.parametrize("source", ALLOWED)
def test_allows(source: str) -> None:
    assert findings(source) == []
