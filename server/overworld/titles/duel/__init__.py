"""Duel: rounds of ten in small arenas. Shows that matches need nothing that an open world does not have."""

from overworld.titles.duel.kinds import Act, Arena, Duelist, Fighter, Shot
from overworld.titles.duel.title import Duel

__all__ = ["Act", "Arena", "Duel", "Duelist", "Fighter", "Shot"]
