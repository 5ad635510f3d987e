"""Crystals: taken by the ship that comes near, grown again elsewhere. There are always as many."""

from __future__ import annotations

import numpy as np

from overworld.game import Shard
from overworld.titles.frontier.flight import somewhere
from overworld.titles.frontier.kinds import DEAD, HP_MAX, Crystal, Ship
from overworld.titles.frontier.rules import COLLECT_EVERY, CRYSTAL_HEALS, CRYSTAL_VALUES, Rules


def grow(shard: Shard, count: int) -> None:
    """New crystals somewhere in the shard."""
    if not count:
        return
    crystals = shard[Crystal]
    rows = crystals.spawn(count)
    crystals.at.x[rows], crystals.at.y[rows] = somewhere(shard, "grow", count)
    crystals.value[rows] = np.array(CRYSTAL_VALUES, np.int64)[shard.random("grow", count, 0, len(CRYSTAL_VALUES))]


def collect(shard: Shard, rules: Rules) -> None:
    """Ships take the crystals in their reach, and are healed a little by each."""
    if shard.tick % COLLECT_EVERY:
        return
    ships, crystals = shard[Ship], shard[Crystal]
    i, j = shard.near(ships.at, crystals.at, rules.reach)
    if not len(i):
        return
    alive = (ships.flags[i] & DEAD) == 0
    # Two ships at one crystal: the elder takes it, which is the first of the pairs.
    taken, first = np.unique(j[alive], return_index=True)
    takers = i[alive][first]
    np.add.at(ships.score, takers, crystals.value[taken])
    np.add.at(ships.hp, takers, CRYSTAL_HEALS)
    ships.hp = np.minimum(ships.hp, HP_MAX)
    crystals.remove(taken)
    grow(shard, len(taken))
