"""Tests of overworld.client."""
