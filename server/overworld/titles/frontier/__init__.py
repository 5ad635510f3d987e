"""Frontier: the title that `overworld dev` plays."""

from overworld.titles.frontier.kinds import Bolt, Crystal, Drone, Lance, Pilot, Ship, Steer
from overworld.titles.frontier.title import Frontier

__all__ = ["Bolt", "Crystal", "Drone", "Frontier", "Lance", "Pilot", "Ship", "Steer"]
