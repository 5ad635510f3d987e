"""The `Welcome`: what a client is told of the world. Made once; only the session's own fields differ."""

from __future__ import annotations

from overworld.gateway.pieces import varint
from overworld.settings import GatewaySettings
from overworld.wire.v1 import client_pb2 as pb
from overworld.world.contract import WorldContract
from overworld.world.schema import MOTION_COLUMNS, Column, Kind

PROTOCOL = 1

_WELCOMES_TAG = b"\x3a"


class Welcomes:
    """Writes welcomes for one world."""

    def __init__(self, contract: WorldContract, settings: GatewaySettings) -> None:
        self._common = common_welcome(contract, settings).SerializeToString()

    def piece(self, session: int, resume: bytes, last_seq: int) -> bytes:
        """Frame bytes with the welcome of one session."""
        own = pb.Welcome(session=session, resume=resume, last_seq=last_seq).SerializeToString()
        return _WELCOMES_TAG + varint(len(self._common) + len(own)) + self._common + own


def common_welcome(contract: WorldContract, settings: GatewaySettings) -> pb.Welcome:
    """The part of a welcome that is the same for everyone. Lengths in position units."""
    grid = contract.grid
    return pb.Welcome(
        protocol=PROTOCOL,
        world=contract.world,
        title=contract.title,
        title_version=contract.title_version,
        contract=contract.fingerprint,
        definitions=contract.definitions,
        grid=pb.Grid(
            cells_x=grid.cells_x,
            cells_y=grid.cells_y,
            cell_size=grid.cell_size,
            shards_x=grid.shards[0],
            shards_y=grid.shards[1],
            view=grid.view * grid.units_per_one,
        ),
        tick_interval_us=grid.tick_interval_us,
        kinds=[_kind(kind) for kind in contract.kinds],
        inputs=[
            pb.InputKind(
                name=kind.name,
                fields=[
                    pb.InputField(name=column.name, min=column.field.minimum, max=column.field.maximum)
                    for column in kind.fields
                ],
            )
            for kind in contract.inputs
        ],
        commit_level=contract.commit_level,
        limits=pb.Limits(
            message_bytes_max=settings.message_bytes_max,
            messages_per_second_max=settings.messages_per_second_max,
            idle_seconds_max=settings.idle_s,
        ),
    )


def _kind(kind: Kind) -> pb.Kind:
    motion = []
    if kind.motion is not None:
        motion = [pb.Column(name=name, units_per_one=kind.motion.units_per_one) for name in MOTION_COLUMNS]
    return pb.Kind(
        name=kind.name,
        columns=motion + [_column(column) for column in kind.near],
        owner_columns=[_column(column) for column in kind.owner],
        moves=kind.motion is not None,
    )


def _column(column: Column) -> pb.Column:
    return pb.Column(name=column.name, modulo=column.field.modulo, units_per_one=column.field.units_per_one)
