"""Tests of the stores: each suite runs against the in-memory twin and the real part."""
