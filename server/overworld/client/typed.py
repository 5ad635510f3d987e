"""What the code written by `overworld codegen --language python` stands on: a client whose entities and inputs are
classes of one title.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar, Protocol, Self, TypeVar

from overworld.client.connection import Client
from overworld.client.mirror import Avatar, Seen
from overworld.client.presence import Reason
from overworld.errors import WireError


class SeenKind(Protocol):
    """A generated kind of entity."""

    NUMBER: ClassVar[int]

    @classmethod
    def of(cls, seen: Seen) -> Self:
        """From the picture."""


class OwnerKind(Protocol):
    """What the owner of a generated kind is told besides."""

    NUMBER: ClassVar[int]

    @classmethod
    def of(cls, seen: Avatar) -> Self:
        """From what the server told the owner."""


class Command(Protocol):
    """A generated kind of input."""

    NUMBER: ClassVar[int]

    def values(self) -> list[int]:
        """In wire order. Raises ValueError for one out of its range."""


AnySeen = TypeVar("AnySeen", bound=SeenKind)
AnyOwner = TypeVar("AnyOwner", bound=OwnerKind)


def checked(value: int, low: int, high: int, what: str) -> int:
    """The value. Raises ValueError where it is out of its range."""
    if not low <= value <= high:
        raise ValueError(f"{what} is {value}, must lie within {low}..{high}")
    return value


class TypedClient:
    """A client with a title's types. Every method raises WireError on a server that plays other definitions than those
    this was written from, and before the first Welcome (code 4004 and 1002).
    """

    def __init__(self, client: Client, title: str, version: int, definitions: str) -> None:
        self.client = client
        self._title = title
        self._version = version
        self._definitions = definitions

    def check(self) -> None:
        """Raises WireError unless the server plays what this code was written from."""
        contract = self.client.session.mirror.contract
        if contract is None:
            raise WireError(1002, "nothing is known before the first Welcome")
        if (contract.title, contract.definitions) != (self._title, self._definitions):
            mine = f"{self._title} version {self._version} ({self._definitions})"
            theirs = f"{contract.title} version {contract.title_version} ({contract.definitions})"
            raise WireError(4004, f"written from {mine}, the server plays {theirs}: run overworld codegen again")

    def every(self, kind: type[AnySeen]) -> Iterator[AnySeen]:
        """All entities of a kind in view, now."""
        self.check()
        return (kind.of(seen) for seen in self.client.mirror.entities(kind.NUMBER))

    def on_add(self, kind: type[AnySeen], listener: Callable[[AnySeen], object]) -> Callable[[], None]:
        """Call with each one of a kind that comes into the picture. Returns what takes it off; so do the next."""

        def tell(seen: Seen) -> None:
            if seen.kind == kind.NUMBER:
                self.check()
                listener(kind.of(seen))

        self.check()
        return self.client.presence.on_add(tell)

    def on_change(self, kind: type[AnySeen], listener: Callable[[AnySeen, int], object]) -> Callable[[], None]:
        """Call with each one of a kind that was told anew, and which of its change groups (see `Presence`)."""
        presence = self.client.presence

        def tell(entity: int, number: int, mask: int) -> None:
            seen = presence.get(entity) if number == kind.NUMBER else None
            if seen is not None:
                self.check()
                listener(kind.of(seen), mask)

        self.check()
        return presence.on_change(tell)

    def on_remove(self, kind: type[AnySeen], listener: Callable[[AnySeen, Reason], object]) -> Callable[[], None]:
        """Call with each one of a kind that went, as it was last, and why."""

        def tell(seen: Seen, reason: Reason) -> None:
            if seen.kind == kind.NUMBER:
                self.check()
                listener(kind.of(seen), reason)

        self.check()
        return self.client.presence.on_remove(tell)

    def find(self, kind: type[AnySeen], entity: int) -> AnySeen | None:
        """One entity by its id; None where it is not in view."""
        self.check()
        seen = self.client.mirror.entity(kind.NUMBER, entity)
        return kind.of(seen) if seen is not None else None

    def avatar(self, kind: type[AnySeen]) -> AnySeen | None:
        """The player's own avatar; None where there is none in view, or it is of another kind."""
        self.check()
        seen = self.client.mirror.own()
        return kind.of(seen) if seen is not None and seen.kind == kind.NUMBER else None

    def own(self, kind: type[AnyOwner]) -> AnyOwner | None:
        """What only the player is told of the avatar; None where that is of another kind."""
        self.check()
        avatar = self.client.session.mirror.avatar
        return kind.of(avatar) if avatar is not None and avatar.kind == kind.NUMBER else None

    def send(self, command: Command) -> int | None:
        """Submit an input: its number, or None where too many are unacknowledged. Raises ValueError out of range."""
        self.check()
        return self.client.submit(command.NUMBER, command.values())
