"""The contract of a cluster's world, as its processes make it from their settings."""

from __future__ import annotations

from dataclasses import replace

from loadtest.cluster import Shape
from overworld.commands.title_loader import load_title
from overworld.game import Title, contract_of
from overworld.settings import parse_shards
from overworld.world.contract import WorldContract


def world_of(shape: Shape) -> tuple[WorldContract, Title]:
    """The contract and the title."""
    title = load_title(shape.title)
    grid = replace(type(title).world, shards=parse_shards(shape.shards)) if shape.shards else None
    contract = contract_of(title, shape.world, shape.seed, grid)
    if shape.commit_level is not None:
        contract = replace(contract, commit_level=shape.commit_level)
    return contract, title
