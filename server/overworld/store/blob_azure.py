"""Blob storage in Azure (or Azurite): block blobs of one container.

Preconditions do the guarding: `If-None-Match: *` for new objects, `If-Match` for replacements. The client library
tries failed requests again, so a put that had worked may be answered with 409 or 412 on its second try: each put
carries a nonce in its metadata, and an object that has our nonce is ours.

Block sizes and pauses are far below the library's defaults (64 MiB, 15 s), which are made for archives: a snapshot is
a few MiB and must be there before the next one.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import structlog
from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob.aio import BlobClient, BlobServiceClient, ContainerClient, LinearRetry

from overworld import telemetry
from overworld.errors import AlreadyThere, Changed, Missing, StoreUnavailable, TooBig
from overworld.store.limits import NONCE_KEY, check_blob, check_blob_name, check_blob_prefix
from overworld.store.ports import BlobLimits

log = structlog.get_logger(__name__)

T = TypeVar("T")
Names = list[str]

SINGLE_PUT_BYTES_MAX = 1 << 20
BLOCK_BYTES = 1 << 20
BLOCKS_AT_ONCE = 4
"""A larger body is one write that holds up the event loop (aiohttp warns of it); a few blocks at once cost no time."""
RETRY_PAUSE_S, RETRY_JITTER_S, RETRIES = 0.5, 0.25, 4
CONNECT_S_MAX, READ_S_MAX = 2.0, 10.0
CALL_S_MAX = 60.0
_CONFLICTS = (409, 412)


def service_client(account_url: str, credential: Any) -> BlobServiceClient:
    """A client of an account with the pauses and sizes of this module. `credential`: a token credential, or None for
    SAS URLs.
    """
    return BlobServiceClient(account_url, credential=credential, **_OPTIONS)


def service_client_of(connection_string: str) -> BlobServiceClient:
    """The same from a connection string: for Azurite and development."""
    return BlobServiceClient.from_connection_string(connection_string, **_OPTIONS)


_OPTIONS: dict[str, Any] = {
    "max_single_put_size": SINGLE_PUT_BYTES_MAX,
    "max_block_size": BLOCK_BYTES,
    # Not the exponential policy: its first pause is the base plus 2 s, give or take 3 s.
    "retry_policy": LinearRetry(backoff=RETRY_PAUSE_S, retry_total=RETRIES, random_jitter_range=RETRY_JITTER_S),  # type: ignore[arg-type]
    "connection_timeout": CONNECT_S_MAX,
    "read_timeout": READ_S_MAX,
}


class AzureBlobs:
    """`overworld.store.ports.Blobs` in one container. Closes the credential it is given, too."""

    def __init__(
        self,
        service: BlobServiceClient,
        container: str,
        *,
        create: bool = False,
        credential: Any = None,
        limits: BlobLimits | None = None,
    ) -> None:
        self._service = service
        self._container: ContainerClient = service.get_container_client(container)
        self._create = create
        self._credential = credential
        self._limits = limits or BlobLimits()

    @property
    def where(self) -> str:
        return f"{self._service.primary_hostname}/{self._container.container_name}"

    async def put_new(self, name: str, data: bytes, metadata: Mapping[str, str] | None = None) -> None:
        check_blob(name, data, metadata, self._limits)
        nonce = secrets.token_hex(16)
        blob = self._container.get_blob_client(name)

        async def put() -> None:
            try:
                await blob.upload_blob(
                    data,
                    metadata={**(metadata or {}), NONCE_KEY: nonce},
                    overwrite=False,
                    max_concurrency=BLOCKS_AT_ONCE,
                )
            except HttpResponseError as error:
                if error.status_code not in _CONFLICTS:
                    raise
                if await self._etag_if_ours(blob, nonce) is None:
                    raise AlreadyThere(f"object {name} in {self.where}") from error

        await self._call("put_new", put)

    async def put_if(self, name: str, data: bytes, etag: str | None) -> str:
        check_blob(name, data, None, self._limits)
        nonce = secrets.token_hex(16)
        blob = self._container.get_blob_client(name)
        if etag is None:
            guard: dict[str, Any] = {"overwrite": False}
        else:
            guard = {"overwrite": True, "etag": etag, "match_condition": MatchConditions.IfNotModified}

        async def put() -> str:
            try:
                answer = await blob.upload_blob(
                    data, metadata={NONCE_KEY: nonce}, max_concurrency=BLOCKS_AT_ONCE, **guard
                )
            except (ResourceExistsError, ResourceModifiedError, ResourceNotFoundError) as error:
                ours = await self._etag_if_ours(blob, nonce)
                if ours is None:
                    raise Changed(f"object {name} in {self.where}") from error
                return ours
            return str(answer["etag"])

        return await self._call("put_if", put)

    async def get(self, name: str) -> tuple[bytes, str]:
        check_blob_name(name)

        async def get() -> tuple[bytes, str]:
            try:
                stream = await self._container.download_blob(name)
            except ResourceNotFoundError:
                raise Missing(f"object {name} in {self.where}") from None
            if stream.size > self._limits.blob_bytes_max:
                raise TooBig(f"object {name}: {stream.size} bytes, at most {self._limits.blob_bytes_max}")
            return await stream.readall(), str(stream.properties.etag)

        return await self._call("get", get)

    async def list(self, prefix: str) -> list[str]:
        check_blob_prefix(prefix)

        async def names() -> Names:
            found: Names = []
            async for name in self._container.list_blob_names(name_starts_with=prefix):
                found.append(name)
                if len(found) > self._limits.listed_names_max:
                    raise TooBig(f"more than {self._limits.listed_names_max} objects below {prefix!r}")
            return sorted(found)

        return await self._call("list", names)

    async def delete(self, name: str) -> None:
        check_blob_name(name)

        async def delete() -> None:
            try:
                await self._container.delete_blob(name)
            except ResourceNotFoundError:
                return

        await self._call("delete", delete)

    async def check(self) -> None:
        async def check() -> None:
            if self._create:
                try:
                    await self._container.create_container()
                except ResourceExistsError:
                    return
            else:
                await self._container.get_container_properties()

        try:
            await self._call("check", check)
        except Missing as error:
            text = f"blob storage {self.where}: no such container; create it, or allow the server to (blob_create)"
            raise StoreUnavailable(text) from error

    async def close(self) -> None:
        await self._service.close()
        if self._credential is not None:
            await self._credential.close()

    # ------------------------------------------------------------ every call

    async def _call(self, operation: str, work: Callable[[], Awaitable[T]]) -> T:
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(CALL_S_MAX):
                result = await work()
        except ResourceNotFoundError as error:
            raise Missing(f"{operation}: {error.reason} in {self.where}") from error
        except (AzureError, TimeoutError, OSError) as error:
            kind = type(error).__name__
            telemetry.blob_failures_total.labels(operation, kind).inc()
            text = f"blob storage {self.where}: {operation} failed ({kind}: {_first_line(error)}); check the address"
            raise StoreUnavailable(f"{text}, the network and the role assignment") from error
        telemetry.blob_seconds.labels(operation).observe(time.monotonic() - began_s)
        return result

    async def _etag_if_ours(self, blob: BlobClient, nonce: str) -> str | None:
        """The ETag of an object that an earlier try of this put has made; None for anybody else's."""
        try:
            properties = await blob.get_blob_properties()
        except ResourceNotFoundError:
            return None
        if properties.metadata.get(NONCE_KEY) != nonce:
            return None
        telemetry.blob_recognised_total.inc()
        return str(properties.etag)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:200]
