"""Did an input do what it is for? An acknowledgement alone does not say so: what a title applies is to be seen on the
avatar, and how is known here for the titles of this repository. Pure.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from overworld.client.contract import ClientContract
from overworld.client.mirror import Mirror
from overworld.game import ANGLE_SCALE, cosines, sines
from overworld.titles.roam import SPEED

Fields = dict[str, int]
Oracle = Callable[[Mirror, str, Fields], bool | None]
"""Whether the picture shows the effect of the newest input (its kind, its fields); None: it cannot be told now."""


def oracle_of(contract: ClientContract) -> Oracle | None:
    """The one for a title; None where none is known: then acknowledgements count."""
    return {"roam": _roam(contract), "frontier": _frontier}.get(contract.title.partition("-")[0])


def _roam(contract: ClientContract) -> Oracle:
    def seen(mirror: Mirror, kind: str, fields: Fields) -> bool | None:
        own = mirror.own()
        if own is None or kind != "Heading":
            return None
        tick_hz = round(1_000_000 / contract.tick_interval_us)
        speed = SPEED * contract.kinds[own.kind].units[0] // tick_hz * fields["on"]
        angle = np.array([fields["angle"]])
        wanted = [int(abs(speed * part(angle)[0] // ANGLE_SCALE)) for part in (cosines, sines)]
        # A wall turns a velocity round and changes nothing else.
        return [abs(own.values[2]), abs(own.values[3])] == wanted

    return seen


def _frontier(mirror: Mirror, kind: str, fields: Fields) -> bool | None:
    avatar, contract = mirror.avatar, mirror.contract
    if avatar is None or contract is None or kind != "Steer":
        return None
    names = contract.kinds[avatar.kind].owner_columns
    told = dict(zip(names, avatar.values, strict=True))
    if not {"turn", "thrust"} <= told.keys():
        return None
    return told["turn"] == fields["turn"] and told["thrust"] == fields["thrust"]
