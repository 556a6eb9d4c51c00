"""The handshake: both sides prove the token before anything else is read (protocol page, section 3).

Four packets of fixed size::

    client                                                   server
      hello      magic, version, role, client, ticket, nonce  →
      ←  challenge   magic, version, nonce, server's proofs
      proof      client's proof                               →
      ←  verdict     admitted, or why not

A proof is an HMAC-SHA256 under the token over a label that names the side, all that was said before it, and
the channel binding (the hash of the TLS certificate, empty without TLS; RFC 5929 gives the idea). The labels
differ, so a challenge cannot be reflected; both nonces are fresh and a handshake is good for one attempt, so
nothing can be replayed; the server proves first, so a stranger who listens on a port learns nothing from a
client. While a token is being replaced two are good; the server proves both, as it cannot know which of them
the client has. The first eight bytes decide whether the other side speaks this protocol at all.
"""

from __future__ import annotations

import enum
import hmac
import secrets
from struct import Struct
from typing import NamedTuple

from rpc_magic.errors import AuthenticationError, ProtocolError
from rpc_magic.wire.frames import VERSION

__all__ = [
    "CHALLENGE_SIZE",
    "HELLO_SIZE",
    "PROOF_SIZE",
    "START_SIZE",
    "VERDICT_SIZE",
    "ClientHandshake",
    "Hello",
    "Role",
    "ServerHandshake",
    "Verdict",
    "check_start",
    "read_verdict",
    "write_verdict",
]

_MAGIC = b"rpcmagic"
_HELLO = Struct("!8sBBH16s16sQ32s")
_CHALLENGE = Struct("!8sB3s32s32s32s")
_VERDICT = Struct("!B7x")
START_SIZE = 8
HELLO_SIZE, CHALLENGE_SIZE, PROOF_SIZE, VERDICT_SIZE = _HELLO.size, _CHALLENGE.size, 32, _VERDICT.size
NONCE_SIZE = TOKEN_SIZE = 32
_RESERVED = bytes(3)
_SERVER, _CLIENT = b"rpc_magic server proof 1", b"rpc_magic client proof 1"


class Role(enum.IntEnum):
    """What a connection is for."""

    CONTROL = 1
    DATA = 2
    FUNCTIONS = 3
    ENGINE = 4


class Verdict(enum.IntEnum):
    """The end of a handshake."""

    ADMITTED = 1
    REFUSED = 2  # whatever was wrong: a stranger is not told what
    BUSY = 3  # proved, but a limit is reached
    NO_SUCH_SESSION = 4  # proved, but the ticket is not (any more) good


class Hello(NamedTuple):
    """The fields of a hello.

    Attributes:
        role: what the connection is for.
        client: 16 random bytes that name the client process.
        ticket: names the session (given on the control connection); zeros on a control connection.
        resume: the client has handled the session's frames up to this number.
        nonce: 32 fresh random bytes.
    """

    role: Role
    client: bytes
    ticket: bytes
    resume: int
    nonce: bytes


def check_start(start: bytes) -> None:
    """Check the first `START_SIZE` bytes of a hello.

    Raises:
        ProtocolError: the other side speaks something else.
    """
    if start != _MAGIC:
        raise ProtocolError("the first bytes are no hello of rpc_magic")


def _proof(token: bytes, label: bytes, said: bytes, binding: bytes) -> bytes:
    return hmac.digest(token, b"\0".join([label, said, binding]), "sha256")


def _check_token(token: bytes) -> None:
    if len(token) != TOKEN_SIZE:
        raise ValueError(f"a token has {TOKEN_SIZE} bytes, this one {len(token)}")


class ServerHandshake:
    """The server's half, for one attempt.

    Args:
        tokens: the one or two tokens that are good now, 32 bytes each.
        binding: the channel binding.
    """

    def __init__(self, tokens: tuple[bytes, ...], binding: bytes = b"") -> None:
        if not 1 <= len(tokens) <= 2:
            raise ValueError(f"one or two tokens are good at a time, not {len(tokens)}")
        for token in tokens:
            _check_token(token)
        self._tokens, self._binding = tokens, binding
        self._said: bytes | None = b""  # hello and challenge; None after the one attempt

    def challenge(self, hello: bytes) -> tuple[Hello, bytes]:
        """Read a hello; return it and the challenge to send.

        Raises:
            ProtocolError: it is no hello of this version, or not the first one.
        """
        if self._said != b"":
            raise ProtocolError("a second hello on one connection")
        if len(hello) != HELLO_SIZE:
            raise ProtocolError("a hello has another size")
        magic, version, role, flags, client, ticket, resume, nonce = _HELLO.unpack(hello)
        if magic != _MAGIC or version != VERSION or flags or role not in set(Role):
            raise ProtocolError("a hello has unknown fields")
        ours = secrets.token_bytes(NONCE_SIZE)
        proofs = [_proof(token, _SERVER, hello + ours, self._binding) for token in self._tokens]
        if len(proofs) == 1:
            proofs.append(secrets.token_bytes(PROOF_SIZE))  # a stranger is not told how many tokens there are
        challenge = _CHALLENGE.pack(_MAGIC, VERSION, _RESERVED, ours, *proofs)
        self._said = hello + challenge
        return Hello(Role(role), client, ticket, resume, nonce), challenge

    def is_proved(self, proof: bytes) -> bool:
        """Tell whether the client has proved that it knows a token; takes the same time either way.

        Can be asked once, after `challenge`: else the answer is no.
        """
        said, self._said = self._said, None
        good = False
        for token in self._tokens:
            good |= hmac.compare_digest(_proof(token, _CLIENT, said or b"", self._binding), proof)
        return good and bool(said)


class ClientHandshake:
    """The client's half.

    Args:
        url: the server, for messages.
        token: 32 bytes.
        role, client, ticket, resume: as in `Hello`.
        binding: the channel binding.
    """

    def __init__(
        self,
        url: str,
        token: bytes,
        role: Role,
        client: bytes,
        ticket: bytes = bytes(16),
        resume: int = 0,
        binding: bytes = b"",
    ) -> None:
        _check_token(token)
        self._url, self._token, self._binding = url, token, binding
        nonce = secrets.token_bytes(NONCE_SIZE)
        self.hello = _HELLO.pack(_MAGIC, VERSION, role, 0, client, ticket, resume, nonce)

    def proof(self, challenge: bytes) -> bytes:
        """Check the server's proof; return ours, to be sent.

        Raises:
            ProtocolError: the other side does not speak this version of the protocol.
            AuthenticationError: the server does not know the token.
        """
        if len(challenge) != CHALLENGE_SIZE:
            raise ProtocolError("a challenge has another size")
        magic, version, reserved, nonce, *proofs = _CHALLENGE.unpack(challenge)
        if magic != _MAGIC:
            raise ProtocolError("what answers there is no rpc_magic server")
        if version != VERSION:
            raise ProtocolError(f"the server speaks version {version} of the protocol, this client {VERSION}")
        if reserved != _RESERVED:
            raise ProtocolError("a challenge has unknown fields")
        due = _proof(self._token, _SERVER, self.hello + nonce, self._binding)
        good = False
        for proof in proofs:
            good |= hmac.compare_digest(due, proof)
        if not good:
            raise AuthenticationError(
                self._url,
                "the server could not prove that it knows the token",
                "Check that the token is this server's (`rpc-magic token --show [NAME]` prints it there), and that the "
                "address is right.",
            )
        return _proof(self._token, _CLIENT, self.hello + challenge, self._binding)


def write_verdict(verdict: Verdict) -> bytes:
    """Return the packet that says `verdict`."""
    return _VERDICT.pack(verdict)


def read_verdict(packet: bytes) -> Verdict:
    """Read a verdict.

    Raises:
        ProtocolError: it is none.
    """
    if len(packet) != VERDICT_SIZE or packet[0] not in set(Verdict) or any(packet[1:]):
        raise ProtocolError("the server's verdict cannot be read")
    return Verdict(packet[0])
