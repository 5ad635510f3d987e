"""The runbook cannot rot unseen: every `overworld` command in it is one that the command line takes, with its options,
every link leads to a heading, and every script it names is there.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from overworld.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
RUNBOOK = ROOT / "deploy" / "runbook.md"
COMMAND = re.compile(r"(?<![\w./-])overworld (?:admin|restore|archive|replay|worker|gateway|dev)\b[^`|;#&)\n]*")
LINK = re.compile(r"\]\(([^)#\s]*)#?([^)\s]*)\)")


def commands() -> list[str]:
    """Each once, as it is written."""
    return sorted({found.strip() for found in COMMAND.findall(RUNBOOK.read_text())})


def parsed(words: list[str]) -> click.Command:
    """The command that the command line would run. Raises click.ClickException for what it does not take."""
    command: click.Command = main
    context = click.Context(main)
    while isinstance(command, click.Group) and words:
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command = found
        context = click.Context(command, parent=context, info_name=name)
    if "..." not in words:
        command.make_parser(context).parse_args(list(words))
    return command


def slug(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")


def test_there_are_commands_to_hold() -> None:
    assert len(commands()) > 8


@pytest.mark.parametrize("command", commands())
def test_the_command_line_takes_it(command: str) -> None:
    parsed(shlex.split(command)[1:])


@pytest.mark.parametrize("wrong", ["overworld admin drains worker-2", "overworld restore --to TIME"])
def test_a_command_that_does_not_exist_is_found(wrong: str) -> None:
    with pytest.raises(click.ClickException):
        parsed(shlex.split(wrong)[1:])


def test_every_link_leads_to_a_heading() -> None:
    for file, heading in LINK.findall(RUNBOOK.read_text()):
        target = (RUNBOOK.parent / file).resolve() if file else RUNBOOK
        assert target.exists(), file
        if heading:
            headings = re.findall(r"(?m)^#+ (.+)$", target.read_text())
            assert heading in {slug(one) for one in headings}, f"{file}#{heading}"
