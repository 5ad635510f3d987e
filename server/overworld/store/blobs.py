"""Opens the blob storage that a setting names.

PATH or dir:PATH                               a directory on this machine
memory:                                        this process's memory: for trying things out
https://ACCOUNT.blob.core.windows.net/NAME     Azure, by workload or managed identity, or a developer's own login
azurite:CONNECTION STRING;Container=NAME       Azurite, or an account by connection string
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from overworld.errors import SettingsError
from overworld.store.blob_directory import DirectoryBlobs
from overworld.store.blob_memory import MemoryBlobs
from overworld.store.ports import BlobLimits, Blobs

_CONTAINER = ";Container="


def open_blobs(url: str, limits: BlobLimits | None = None) -> Blobs:
    """The store of a setting. Raises SettingsError for one that names none. Sends nothing yet: see `Blobs.check`."""
    scheme, _, rest = url.partition(":")
    if not url or (scheme == "azurite" and _CONTAINER not in rest):
        raise SettingsError(
            "blob_url: name a directory, https://ACCOUNT.blob.core.windows.net/CONTAINER, or azurite:..."
        )
    if scheme == "memory" and not rest:
        return MemoryBlobs(limits=limits)
    if scheme == "azurite":
        return _by_connection_string(rest, limits)
    if scheme == "https":
        return _by_identity(url, limits)
    return DirectoryBlobs(Path(rest if scheme == "dir" else url).expanduser(), limits)


def _by_connection_string(text: str, limits: BlobLimits | None) -> Blobs:
    # Imported where needed: the client library takes a second to load, and most processes on one machine do without.
    from overworld.store.blob_azure import AzureBlobs, service_client_of

    connection, _, container = text.rpartition(_CONTAINER)
    try:
        service = service_client_of(connection)
    except ValueError as error:
        raise SettingsError(f"blob_url: not a connection string ({type(error).__name__})") from None
    return AzureBlobs(service, container, create=True, limits=limits)


def _by_identity(url: str, limits: BlobLimits | None) -> Blobs:
    from azure.identity.aio import DefaultAzureCredential

    from overworld.store.blob_azure import AzureBlobs, service_client

    parts = urlsplit(url)
    container = parts.path.strip("/")
    if not container or "/" in container or parts.query:
        raise SettingsError("blob_url: https://ACCOUNT.blob.core.windows.net/CONTAINER, without a query")
    # Workload identity and managed identity in the cluster, the developer's own login elsewhere; never a key.
    credential = DefaultAzureCredential()
    service = service_client(f"https://{parts.netloc}", credential)
    return AzureBlobs(service, container, credential=credential, limits=limits)
