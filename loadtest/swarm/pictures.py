"""A sampled bot's picture against the server's word: digests of the cells it holds, at a tick that both note.

The bot names a tick about a second ahead, asks the shard's owner over the admin API what will stand in its cells then,
and keeps what it holds itself when that tick's frame comes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np
import numpy.typing as npt

from loadtest.swarm.findings import PICTURE_WRONG, Findings
from loadtest.truth import differences
from overworld.client.contract import ClientContract
from overworld.client.mirror import Mirror
from overworld.shard.digest import cell_digest
from overworld.worker.cell_checks import CELLS_MAX, MOTION_COLUMNS, exact_columns

Ints = npt.NDArray[np.int64]
CellRows = dict[int, tuple[Ints, Ints]]
"""By kind: ids int64[n], columns int64[columns, n]."""
TIMEOUT_S = 20.0
CONNECTIONS_MAX = 32


@dataclass
class Note:
    """One question: what the bot held at the tick it named. `pictures` None: the frame of that tick did not come."""

    shard: int
    tick: int
    cells: tuple[int, ...]
    pictures: dict[int, CellRows] | None = None
    epoch: int = 0

    def look(self, mirror: Mirror) -> bool:
        """After a frame. True once there is nothing more to wait for."""
        epoch, tick = mirror.ticks.get(self.shard, (0, 0))
        if tick < self.tick:
            return False
        if tick == self.tick:
            assert mirror.contract is not None
            held, kinds = mirror.cells, range(len(mirror.contract.kinds))
            self.epoch = epoch
            self.pictures = {
                cell: {kind: rows for kind in kinds for rows in [mirror.rows(cell, kind)] if len(rows[0])}
                for cell in self.cells
                if cell in held
            }
        return True


def question(mirror: Mirror, chance: random.Random) -> Note | None:
    """What to ask next: cells of one of the shards in view; None where there are none."""
    contract = mirror.contract
    if contract is None or not mirror.cells:
        return None
    shard = contract.shard_of(chance.choice(sorted(mirror.cells)))
    if shard not in mirror.ticks:
        return None
    cells = [cell for cell in sorted(mirror.cells) if contract.shard_of(cell) == shard]
    ahead = max(10, round(1_000_000 / contract.tick_interval_us))
    return Note(shard, mirror.ticks[shard][1] + ahead, tuple(cells[:CELLS_MAX]))


@dataclass
class Server:
    """The admin API of a cluster: `urls` of internal ports, tried in turn; none: nothing is checked."""

    urls: Sequence[str]
    token: str = field(repr=False)
    _session: aiohttp.ClientSession | None = None
    _turn: int = 0

    async def close(self) -> None:
        """Close connections."""
        if self._session is not None:
            await self._session.close()

    async def check(self, note: Note) -> dict[str, Any] | str:
        """The owner's word, or why there is none."""
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
                headers={"Authorization": f"Bearer {self.token}"},
            )  # fmt: skip
        url = self.urls[self._turn % len(self.urls)].rstrip("/")
        self._turn += 1
        body = {"tick": note.tick, "cells": list(note.cells), "rows": True}
        try:
            async with self._session.post(f"{url}/admin/v1/shards/{note.shard}/check", json=body) as answer:
                if answer.status != 200:
                    return f"refused with {answer.status}"
                said: dict[str, Any] = await answer.json()
                return said
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return "no answer"


def judge(who: str, note: Note, said: Mapping[str, Any] | str, contract: ClientContract, findings: Findings) -> None:
    """Compare, and note what was found."""
    if isinstance(said, str):
        findings.skipped[said] += 1
        return
    if note.pictures is None:
        findings.skipped["the frame of that tick did not come"] += 1
        return
    if said["epoch"] != note.epoch:
        findings.skipped["the shard changed hands"] += 1
        return
    tolerances, rows = said["tolerances"], said.get("rows")
    compared = 0
    for found in said["cells"]:
        picture = note.pictures.get(found["cell"])
        if picture is None:
            continue
        compared += 1
        findings.cells += 1
        findings.entities += found["entities"]
        mine = [(kind, ids, exact_columns(tolerances[kind], columns)) for kind, (ids, columns) in picture.items()]
        wrong = cell_digest(mine) != found["digest"]
        theirs = None if rows is None else [tuple(row) for row in rows if row[2] == found["cell"]]
        if theirs is not None and not wrong:
            wrong = _out_of_place(picture, theirs, tolerances)
        if wrong:
            names = {number: kind.columns for number, kind in enumerate(contract.kinds)}
            told = ["(too many rows to name one)"]
            if theirs is not None:
                told = differences(_rows(found, picture), theirs, names)
            where = f"cell {found['cell']} of shard {note.shard} at tick {note.tick}"
            findings.fault(PICTURE_WRONG, f"{who}, {where}: {'; '.join(told)}")
    if compared:
        findings.compared += 1
    else:
        findings.skipped["the cells went out of view"] += 1


def _rows(found: Mapping[str, Any], picture: CellRows) -> list[tuple[int, ...]]:
    return [
        (kind, int(ids[i]), found["cell"], *columns[:, i].tolist())
        for kind, (ids, columns) in picture.items()
        for i in range(len(ids))
    ]


def _out_of_place(picture: CellRows, theirs: list[tuple[int, ...]], tolerances: Sequence[int]) -> bool:
    """Whether something of a kind with a tolerance is further off than that. Ids agree by now."""
    places = {(row[0], row[1]): row[3:5] for row in theirs}
    for kind, (ids, columns) in picture.items():
        if tolerances[kind] and len(columns) >= MOTION_COLUMNS:
            for i, entity in enumerate(ids.tolist()):
                x, y = places[kind, entity]
                if max(abs(int(columns[0, i]) - x), abs(int(columns[1, i]) - y)) > tolerances[kind]:
                    return True
    return False


async def check(who: str, note: Note, server: Server, mirror: Mirror, findings: Findings) -> None:
    """Ask, and judge once both sides have noted the tick."""
    contract = mirror.contract
    assert contract is not None
    findings.asked += 1
    said = await server.check(note)
    # The answer may overtake the frame.
    for _ in range(40):
        if note.pictures is not None or mirror.ticks.get(note.shard, (0, 0))[1] > note.tick or isinstance(said, str):
            break
        await asyncio.sleep(0.05)
    judge(who, note, said, contract, findings)
