"""The encryption of a link: TLS 1.3, under a certificate that the accepting process makes for itself when it starts.

There is no authority to run, no file to mount and nothing to rotate: the certificate lives as long as its process, and
its key never leaves it. Nobody believes the certificate for its signature; the handshake's macs cover it (`handshake`),
so whoever shows another one cannot finish the handshake. What TLS adds to the proofs: what follows them cannot be read,
changed, repeated, left out or added to by who holds the network in between; who learns the cluster key later reads
nothing of what was recorded before.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import secrets
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_ALWAYS = (dt.datetime(2000, 1, 1, tzinfo=dt.UTC), dt.datetime(9999, 1, 1, tzinfo=dt.UTC))
"""Dates mean nothing here, and clocks that are wrong do no harm."""


@dataclass(frozen=True)
class OwnCertificate:
    """What the accepting side of links encrypts with. `binding`: SHA-256 of the certificate (DER), 32 bytes."""

    context: ssl.SSLContext = field(repr=False)
    binding: bytes

    @classmethod
    def make(cls) -> OwnCertificate:
        """A new one, in a few milliseconds."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "overworld link")])
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), *_ALWAYS)
        ).sign(key, hashes.SHA256())
        password = secrets.token_bytes(32).hex().encode()
        protection = serialization.BestAvailableEncryption(password)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        # The library takes them from a file only: the key is in it encrypted, under a password that is not.
        with tempfile.TemporaryDirectory() as folder:
            pem = Path(folder) / "link.pem"
            pem.write_bytes(
                key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
                + certificate.public_bytes(serialization.Encoding.PEM)
            )
            context.load_cert_chain(pem, password=password)
        return cls(context, hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest())


def connecting() -> ssl.SSLContext:
    """For the side that connects: any certificate will do, since the handshake after it is what judges it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def binding_shown(transport: asyncio.BaseTransport) -> bytes:
    """SHA-256 of the certificate that the other side has shown, and whose key it has."""
    shown = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return hashlib.sha256(shown).digest()


async def encrypt(
    transport: asyncio.Transport,
    protocol: asyncio.BaseProtocol,
    context: ssl.SSLContext,
    *,
    server: bool,
    timeout_s: float,
) -> asyncio.Transport:
    """The same connection inside TLS, for `protocol`, which is not told of a connection made; nor of one lost where
    this raises ConnectionError. Nothing may have been read from `transport` that is TLS already: pause it.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            inside = await loop.start_tls(
                transport, protocol, context, server_side=server, ssl_handshake_timeout=timeout_s
            )
    except (OSError, ssl.SSLError) as error:
        transport.abort()
        raise ConnectionError(f"no TLS with the other side: {str(error) or type(error).__name__}") from error
    if inside is None:
        raise ConnectionError("no TLS with the other side: the connection was lost")
    return inside
