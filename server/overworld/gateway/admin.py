"""What a gateway shows and lets be done over the admin API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import structlog

from overworld.admin.node import Node, number_of, text_of
from overworld.gateway import pieces
from overworld.gateway.codes import CloseCode
from overworld.gateway.players import NOTICE_CHARS_MAX, Players
from overworld.gateway.session import SessionState
from overworld.store.ports import Role
from overworld.wire.v1 import client_pb2
from overworld.world.contract import WorldContract

log = structlog.get_logger(__name__)

PLAYERS_SHOWN_MAX = 1000
SUSPICIOUS_SHOWN_MAX = 100
REASON_CHARS_MAX = 100


def gateway_node(name: str, contract: WorldContract, players: Players, serving: Callable[[], bool]) -> Node:
    """`serving`: False while it stops."""

    def shown() -> dict[str, Any]:
        sessions = [connection.session for connection in players.connections]
        backlogs = [c.socket.backlog_bytes for c in players.connections if c.socket is not None]
        viewers = [connection.viewer for connection in players.connections]
        return {
            "name": name,
            "world": contract.world,
            "title": contract.title,
            "title_version": contract.title_version,
            "draining": not serving(),
            "sockets": len(sessions),
            "sessions": sum(session.state is SessionState.PLAYING for session in sessions),
            "behind": sum(viewer is not None and viewer.behind for viewer in viewers),
            "backlog_bytes": sum(backlogs),
        }

    def shown_players() -> dict[str, Any]:
        known = [c for c in players.connections if c.session.state in (SessionState.ATTACHING, SessionState.PLAYING)]
        return {
            "world": contract.world,
            "players": [
                {
                    # As text: JSON's numbers lose digits in some languages.
                    "player": str(c.session.player),
                    "shard": c.session.shard,
                    "state": c.session.state.value,
                    "client": c.session.client,
                    "address": c.socket.address if c.socket is not None else "",
                }
                for c in known[:PLAYERS_SHOWN_MAX]
            ],
        }

    def shown_suspicious() -> dict[str, Any]:
        worst = players.suspicion.worst(SUSPICIOUS_SHOWN_MAX)
        return {
            "world": contract.world,
            "suspicious": [{"player": str(player), "closes": counts} for player, counts in worst],
        }

    async def kick(body: Mapping[str, Any]) -> dict[str, Any]:
        player = number_of(body, "player")
        reason = text_of(body, "reason", REASON_CHARS_MAX, required=False)
        return {"sockets": kicked(players, player, reason)}

    async def broadcast(body: Mapping[str, Any]) -> dict[str, Any]:
        return {"sockets": told(players, text_of(body, "text", NOTICE_CHARS_MAX))}

    return Node(
        Role.GATEWAY,
        name,
        contract.world,
        {"": shown, "players": shown_players, "suspicious": shown_suspicious},
        {"kick": kick, "broadcast": broadcast},
    )


def kicked(players: Players, player: int, reason: str) -> int:
    """Close a player's sockets, with a goodbye in the player's name: the shard lets the avatar go by its title's rules,
    and the session cannot be taken up again. Returns how many sockets there were.
    """
    found = [c for c in players.connections if c.session.player == player]
    for connection in found:
        connection.do(connection.session.end(leaving=True))
        connection.close(CloseCode.KICKED, f"an operator ended the session{': ' if reason else ''}{reason}")
        log.info("player_kicked", player=player, reason=reason)
    return len(found)


def told(players: Players, text: str) -> int:
    """Show everybody who plays a text. Returns how many that are. Who does not read at the moment is left out."""
    piece = pieces.notice(client_pb2.Notice.CODE_BROADCAST, text)
    readers = [c for c in players.connections if c.viewer is not None and not c.viewer.behind]
    for connection in readers:
        connection.send(piece)
    return len(readers)
