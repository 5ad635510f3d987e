"""Titles by entry point, and one line for whatever is wrong with them."""

from __future__ import annotations

import pytest

from overworld.commands.title_loader import installed_titles, load_title
from overworld.errors import TitleError
from overworld.game import Title


class NeedsMore(Title):
    name = "needy"

    def __init__(self, argument: int) -> None:
        self.argument = argument


NOT_A_TITLE = 5


def test_ours_are_installed() -> None:
    assert {"duel", "frontier", "roam"} <= set(installed_titles())
    assert load_title("frontier").name == "frontier"


def test_a_title_being_written_loads_by_its_place() -> None:
    assert load_title("tests.shard.meadow:Meadow").name == "meadow"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("chess", "no title 'chess': installed are "),
        ("nowhere.at.all:Chess", "does not load: ModuleNotFoundError"),
        ("tests.shard.meadow:Chess", "does not load: AttributeError"),
        (f"{__name__}:NOT_A_TITLE", "is not a subclass of overworld.game.Title"),
        (f"{__name__}:NeedsMore", "cannot be made without arguments"),
    ],
)
def test_what_is_wrong_is_one_line(name: str, why: str) -> None:
    with pytest.raises(TitleError) as caught:
        load_title(name)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)
