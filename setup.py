"""What pyproject.toml cannot say yet: the gateway's compiled lane, which is optional.

Where it does not compile (no compiler, no Linux) the gateway does the same in Python.
"""

import sys

from setuptools import Extension, setup

lane = Extension(
    "overworld.gateway._lane", ["server/overworld/gateway/lane.c"], extra_compile_args=["-O2"], optional=True
)
setup(ext_modules=[lane] if sys.platform == "linux" else [])
