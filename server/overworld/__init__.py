"""Overworld: an authoritative multiplayer game server."""

__version__ = "0.1.0"
