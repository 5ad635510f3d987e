"""Prometheus itself (Debian's package `prometheus`), scraping processes of this machine and answering queries."""

from __future__ import annotations

import json
import math
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.processes import Process
from tests.parts.ports import free_port

HOST = "127.0.0.1"
READY_S = 30.0
QUERY_S = 10.0
SCRAPE_S = 1


class QueryFailed(Exception):
    """Prometheus refused a query. The message holds the query and why."""


@dataclass(frozen=True)
class Series:
    """One series of an instant query's answer; its value is finite."""

    labels: Mapping[str, str]
    value: float


class Prometheus:
    """One server with its data in `folder`. It scrapes every target (`host:port`, by the name that becomes the label
    `instance`) once a second.
    """

    def __init__(self, folder: Path, targets: Mapping[str, str]) -> None:
        program = shutil.which("prometheus")
        assert program, "Prometheus is not installed (Debian: apt-get install prometheus)"
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._targets = len(targets)
        config = folder / "prometheus.json"
        # YAML reads JSON.
        config.write_text(json.dumps(_config(targets)))
        argv = [
            *(program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}", "--log.level=warn"),
            f"--web.listen-address={HOST}:{self.port}",
        ]
        self._process = Process("prometheus", argv, folder / "prometheus.log", os.environ)

    async def start(self) -> None:
        """Returns once it answers and has reached every target. Raises StartFailed."""
        self._process.start()
        await self._process.wait_until(self._has_scraped, READY_S)

    def stop(self) -> None:
        """At once."""
        self._process.kill()

    def query(self, expr: str) -> list[Series]:
        """The series an expression has now; those that are NaN or infinite (a quantile of nothing) are left out. Raises
        QueryFailed, OSError.
        """
        url = f"http://{HOST}:{self.port}/api/v1/query?{urllib.parse.urlencode({'query': expr})}"
        try:
            with urllib.request.urlopen(url, timeout=QUERY_S) as answer:
                data: dict[str, Any] = json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise QueryFailed(f"{expr}: {error.read(500).decode(errors='replace')}") from None
        assert data["resultType"] == "vector", f"{expr} is no vector"
        pairs = [(one["metric"], float(one["value"][1])) for one in data["result"]]
        return [Series(labels, value) for labels, value in pairs if math.isfinite(value)]

    def _has_scraped(self) -> bool:
        try:
            return [one.value for one in self.query("sum(up)")] == [self._targets]
        except (OSError, QueryFailed):
            return False


def _config(targets: Mapping[str, str]) -> dict[str, Any]:
    each = [{"targets": [address], "labels": {"instance": name}} for name, address in targets.items()]
    job = {"job_name": "overworld", "static_configs": each}
    return {"global": {"scrape_interval": f"{SCRAPE_S}s", "scrape_timeout": f"{SCRAPE_S}s"}, "scrape_configs": [job]}
