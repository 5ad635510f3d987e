"""How a gateway and a worker prove to each other that they belong together. No I/O; chance comes in as an argument.

    worker                                       gateway
    WAITING   -- challenge(nonce, protocol) -->  IDLE
              <-- proof(nonce, mac, contract) -  WAITING
    READY     -- ready(mac)               ---->  READY
    REFUSED   -- refusal(reason)          ---->  REFUSED

Where the worker encrypts, its challenge says so, the gateway is ENCRYPTING until TLS stands, and all after the
challenge goes inside it. Nobody has signed the worker's certificate: both macs cover it (the *binding*), and who knows
the cluster key vouches for it with them. Somebody in the middle would need a certificate of their own, which makes
other macs; nor can they take the offer of TLS out of the challenge: then the gateway's mac covers no certificate.

The macs are HMAC-SHA256 of the cluster key over the role's name, both nonces, the binding and the contract. Nonces and
bindings have a fixed length, roles have other names inside TLS, none begins with another, and the contract stands last,
so no two different inputs give the same bytes; the role's name keeps one side's proof from being played back to it.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from dataclasses import dataclass, field

from overworld.link.keys import Key, accepted_keys
from overworld.wire.v1 import link_pb2 as pb

LINK_PROTOCOL = 1
NONCE_BYTES = 32
BINDING_BYTES = 32
NAME_CHARS_MAX = 64
CONTRACT_CHARS_MAX = 64


@dataclass(frozen=True)
class LinkCredentials:
    """What a side of a link shows: the cluster key (or two), the contract's fingerprint, and its own name for logs."""

    key: Key = field(repr=False)
    contract: str
    name: str


class HandshakeState(enum.Enum):
    """Where a handshake stands."""

    IDLE = "idle"
    ENCRYPTING = "encrypting"
    WAITING = "waiting"
    READY = "ready"
    REFUSED = "refused"


@dataclass(frozen=True)
class Step:
    """What a received message led to: messages to send, and the new state. `reason` says why where it is REFUSED."""

    send: tuple[pb.LinkMessage, ...]
    state: HandshakeState
    reason: str = ""


class WorkerHandshake:
    """The side that accepts. `nonce`: 32 random bytes, used once. `binding`: SHA-256 of the certificate that it shows
    inside TLS; empty: the link is not encrypted.
    """

    def __init__(self, credentials: LinkCredentials, nonce: bytes, binding: bytes = b"") -> None:
        assert len(nonce) == NONCE_BYTES
        assert len(binding) in (0, BINDING_BYTES)
        self._binding = binding
        self._credentials = credentials
        self._nonce = nonce
        self.state = HandshakeState.IDLE
        self.remote = ""

    def start(self) -> tuple[pb.LinkMessage, ...]:
        """The messages that open the handshake."""
        assert self.state is HandshakeState.IDLE
        self.state = HandshakeState.WAITING
        challenge = pb.LinkChallenge(nonce=self._nonce, protocol=LINK_PROTOCOL, tls=bool(self._binding))
        return (pb.LinkMessage(challenge=challenge),)

    def receive(self, message: pb.LinkMessage) -> Step:
        """Judge the gateway's proof. A worker tells why it refuses only to those who know the key."""
        if self.state is not HandshakeState.WAITING or message.WhichOneof("message") != "proof":
            return self._refuse("proof expected")
        proof, mine = message.proof, self._credentials
        if len(proof.nonce) != NONCE_BYTES or len(proof.contract) > CONTRACT_CHARS_MAX:
            return self._refuse("not authenticated")
        key = self._key_of(proof)
        if key is None:
            return self._refuse("not authenticated")
        if not hmac.compare_digest(mine.contract.encode(), proof.contract.encode()):
            return self._refuse(f"the worker serves contract {mine.contract}, the gateway {proof.contract}")
        self.state = HandshakeState.READY
        self.remote = proof.gateway[:NAME_CHARS_MAX]
        mac = _mac(key, b"worker", proof.nonce + self._nonce, self._binding, mine.contract)
        ready = pb.LinkReady(mac=mac, worker=mine.name[:NAME_CHARS_MAX])
        return Step((pb.LinkMessage(ready=ready),), self.state)

    def _key_of(self, proof: pb.LinkProof) -> bytes | None:
        """Which of the accepted keys the gateway has shown; the answer is proven with the same one."""
        for key in accepted_keys(self._credentials.key):
            expected = _mac(key, b"gateway", self._nonce + proof.nonce, self._binding, proof.contract)
            if hmac.compare_digest(expected, proof.mac):
                return key
        return None

    def _refuse(self, reason: str) -> Step:
        self.state = HandshakeState.REFUSED
        return Step((pb.LinkMessage(refusal=pb.LinkRefusal(reason=reason)),), self.state, reason)


class GatewayHandshake:
    """The side that connects. `nonce`: 32 random bytes, used once."""

    def __init__(self, credentials: LinkCredentials, nonce: bytes) -> None:
        assert len(nonce) == NONCE_BYTES
        self._credentials = credentials
        self._nonce = nonce
        self._theirs = self._binding = b""
        self.state = HandshakeState.IDLE
        self.remote = ""

    def start(self) -> tuple[pb.LinkMessage, ...]:
        """Nothing: the worker speaks first."""
        return ()

    def receive(self, message: pb.LinkMessage) -> Step:
        """Answer the worker's challenge, then judge its proof."""
        kind = message.WhichOneof("message")
        if kind == "refusal" and self.state in (HandshakeState.IDLE, HandshakeState.WAITING):
            return self._refuse(f"refused: {message.refusal.reason[:200]}")
        if self.state is HandshakeState.IDLE and kind == "challenge":
            return self._prove(message.challenge)
        if self.state is HandshakeState.WAITING and kind == "ready":
            return self._judge(message.ready)
        return self._refuse("the worker broke the order of the handshake")

    def _prove(self, challenge: pb.LinkChallenge) -> Step:
        if challenge.protocol != LINK_PROTOCOL:
            return self._refuse(f"the worker speaks link protocol {challenge.protocol}, this gateway {LINK_PROTOCOL}")
        if len(challenge.nonce) != NONCE_BYTES:
            return self._refuse("the worker's nonce has the wrong length")
        self._theirs = challenge.nonce
        if challenge.tls:
            self.state = HandshakeState.ENCRYPTING
            return Step((), self.state)
        return self._show()

    def encrypted(self, binding: bytes) -> Step:
        """TLS stands, and the worker has shown the certificate whose SHA-256 this is."""
        assert self.state is HandshakeState.ENCRYPTING
        assert len(binding) == BINDING_BYTES
        self._binding = binding
        return self._show()

    def _show(self) -> Step:
        mine = self._credentials
        mac = _mac(accepted_keys(mine.key)[0], b"gateway", self._theirs + self._nonce, self._binding, mine.contract)
        proof = pb.LinkProof(nonce=self._nonce, mac=mac, gateway=mine.name[:NAME_CHARS_MAX], contract=mine.contract)
        self.state = HandshakeState.WAITING
        return Step((pb.LinkMessage(proof=proof),), self.state)

    def _judge(self, ready: pb.LinkReady) -> Step:
        mine = self._credentials
        key, nonces = accepted_keys(mine.key)[0], self._nonce + self._theirs
        expected = _mac(key, b"worker", nonces, self._binding, mine.contract)
        if not hmac.compare_digest(expected, ready.mac):
            return self._refuse("the worker does not know the cluster key")
        self.state = HandshakeState.READY
        self.remote = ready.worker[:NAME_CHARS_MAX]
        return Step((), self.state)

    def _refuse(self, reason: str) -> Step:
        self.state = HandshakeState.REFUSED
        return Step((), self.state, reason)


def _mac(key: bytes, role: bytes, nonces: bytes, binding: bytes, contract: str) -> bytes:
    role = b"tls " + role if binding else role
    return hmac.new(key, role + nonces + binding + contract.encode(), hashlib.sha256).digest()
