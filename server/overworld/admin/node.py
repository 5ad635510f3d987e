"""What a process shows of itself, and lets be done with itself, over the admin API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from overworld.errors import AdminError
from overworld.store.ports import Role

PATH = "/admin/v1"
View = Callable[[], dict[str, Any]]
Action = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


@dataclass(frozen=True)
class Node:
    """One process. `views` and `actions` by name, as their paths below /admin/v1/self say; an action's argument is what
    was posted, and it raises AdminError where it cannot be done.
    """

    role: Role
    name: str
    world: str
    views: Mapping[str, View]
    actions: Mapping[str, Action] = field(default_factory=dict)


def told_address(host: str, port: int, otherwise: str) -> str:
    """host:port where other processes reach a port that listens at `host`; `otherwise`: the host to name where that is
    every interface. Empty where there is none.
    """
    everywhere = host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
    known = otherwise if everywhere else host
    if not known:
        return ""
    return f"[{known}]:{port}" if ":" in known and not known.startswith("[") else f"{known}:{port}"


def text_of(body: Mapping[str, Any], name: str, chars_max: int, *, required: bool = True) -> str:
    """A text that was posted. Raises AdminError 400."""
    text = body.get(name, "")
    if not isinstance(text, str) or len(text) > chars_max or (required and not text.strip()):
        raise AdminError(400, f"{name}: a text of {'1' if required else '0'} to {chars_max} characters")
    return text


def number_of(body: Mapping[str, Any], name: str) -> int:
    """A whole number that was posted, as such or as text: JSON's numbers lose digits in some languages. Raises
    AdminError 400.
    """
    value = body.get(name)
    if isinstance(value, str) and value.isdecimal() and len(value) <= 20:
        value = int(value)
    if type(value) is not int or not 0 <= value < 2**63:
        raise AdminError(400, f"{name}: a whole number is required")
    return value


def flag_of(body: Mapping[str, Any], name: str) -> bool:
    """True or false; false where it was not posted. Raises AdminError 400."""
    value = body.get(name, False)
    if type(value) is not bool:
        raise AdminError(400, f"{name}: true or false is required")
    return value
