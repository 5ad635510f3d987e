"""The rule groups of Azure Monitor are those of deploy/alerts, all of them, in groups of no more than Azure takes."""

from __future__ import annotations

import re

import pytest

from tools import alerts, azure_alerts


def test_the_file_is_fresh() -> None:
    assert azure_alerts.TARGET.read_text() == azure_alerts.text()


def test_every_rule_is_in_one_group_and_no_group_is_too_large() -> None:
    told = [(rule["alert"], rule["expr"]) for _, _, rules in azure_alerts.groups() for rule in rules]

    assert told == [(rule["alert"], rule["expr"]) for group in alerts.rules()["groups"] for rule in group["rules"]]
    assert max(len(rules) for _, _, rules in azure_alerts.groups()) <= azure_alerts.RULES_MAX


def test_queries_are_written_so_that_bicep_reads_them_as_they_are() -> None:
    written = re.findall(r"(?m)^        expression: '(.*)'$", azure_alerts.TARGET.read_text())

    read = [re.sub(r"\\(.)", r"\1", text) for text in written]
    assert read == [rule["expr"] for group in alerts.rules()["groups"] for rule in group["rules"]]


def test_quotes_backslashes_and_interpolations_are_escaped() -> None:
    assert azure_alerts.quoted("it's \\d ${x}") == r"'it\'s \\d \${x}'"


def test_durations_are_iso_8601() -> None:
    assert [azure_alerts.duration(text) for text in ("90s", "5m", "1h")] == ["PT90S", "PT5M", "PT1H"]
    with pytest.raises(ValueError, match="1d"):
        azure_alerts.duration("1d")
