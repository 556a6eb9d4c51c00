"""The handshake: both sides prove the token, nothing can be replayed, reflected, relayed or altered."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpc_magic.errors import AuthenticationError, ProtocolError
from rpc_magic.wire.handshake import (
    CHALLENGE_SIZE,
    HELLO_SIZE,
    PROOF_SIZE,
    START_SIZE,
    VERDICT_SIZE,
    ClientHandshake,
    Role,
    ServerHandshake,
    Verdict,
    check_start,
    read_verdict,
    write_verdict,
)

TOKEN, OTHER = b"t" * 32, b"o" * 32
CLIENT, TICKET = bytes(range(16)), bytes(range(16, 32))


def client(token: bytes = TOKEN, binding: bytes = b"") -> ClientHandshake:
    return ClientHandshake("localhost:1", token, Role.DATA, CLIENT, TICKET, 7, binding)


def flipped(packet: bytes, index: int, bits: int) -> bytes:
    return packet[:index] + bytes([packet[index] ^ bits]) + packet[index + 1 :]


def is_admitted(
    hello: bytes, server: ServerHandshake, ours: ClientHandshake, alter: tuple[str, int, int] = ("", 0, 0)
) -> bool:
    """Take both sides through the handshake, with one packet altered on its way; tell whether it succeeds."""
    name, index, bits = alter
    try:
        _, challenge = server.challenge(flipped(hello, index, bits) if name == "hello" else hello)
        proof = ours.proof(flipped(challenge, index, bits) if name == "challenge" else challenge)
    except (ProtocolError, AuthenticationError):
        return False
    return server.is_proved(flipped(proof, index, bits) if name == "proof" else proof)


# ---------------------------------------------------------------- what goes well


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("binding", [b"", hashlib.sha256(b"certificate").digest()])
def test_both_sides_prove_the_token(role: Role, binding: bytes) -> None:
    """With one token and one channel, client and server admit each other, for every role."""
    ours = ClientHandshake("localhost:1", TOKEN, role, CLIENT, TICKET, 1 << 63, binding)
    server = ServerHandshake((TOKEN,), binding)
    hello, challenge = server.challenge(ours.hello)
    assert (hello.role, hello.client, hello.ticket, hello.resume) == (role, CLIENT, TICKET, 1 << 63)
    assert isinstance(hello.role, Role)
    proof = ours.proof(challenge)
    sizes = (len(ours.hello), len(challenge), len(proof))
    assert sizes == (HELLO_SIZE, CHALLENGE_SIZE, PROOF_SIZE) == (84, 108, 32)
    assert server.is_proved(proof)


def test_packets_byte_by_byte() -> None:
    """The packets are what section 3 of the protocol page says they are."""
    ours = client(binding=b"channel")
    nonce = ours.hello[-32:]
    assert ours.hello == b"rpcmagic\x01\x02\x00\x00" + CLIENT + TICKET + (7).to_bytes(8, "big") + nonce
    check_start(ours.hello[:START_SIZE])
    _, challenge = ServerHandshake((OTHER, TOKEN), b"channel").challenge(ours.hello)
    start, theirs, first, second = challenge[:12], challenge[12:44], challenge[44:76], challenge[76:]
    assert start == b"rpcmagic\x01\x00\x00\x00"
    said = b"rpc_magic server proof 1\0" + ours.hello + theirs + b"\0channel"
    assert first == hmac.digest(OTHER, said, "sha256")
    assert second == hmac.digest(TOKEN, said, "sha256")
    said = b"rpc_magic client proof 1\0" + ours.hello + challenge + b"\0channel"
    assert ours.proof(challenge) == hmac.digest(TOKEN, said, "sha256")


@pytest.mark.parametrize("token", [TOKEN, OTHER])
def test_two_tokens_are_good_while_one_replaces_the_other(token: bytes) -> None:
    """During a rotation a client with the old token and one with the new token both get in, no third one."""
    ours = client(token)
    assert is_admitted(ours.hello, ServerHandshake((TOKEN, OTHER)), ours)
    third = client(b"3" * 32)
    assert not is_admitted(third.hello, ServerHandshake((TOKEN, OTHER)), third)


def test_a_challenge_does_not_tell_how_many_tokens_there_are() -> None:
    """With one token the place of the second proof holds bytes that are never the same."""
    ours = client()
    fillers = {ServerHandshake((TOKEN,)).challenge(ours.hello)[1][76:] for _ in range(8)}
    assert len(fillers) == 8
    assert bytes(32) not in fillers


# ---------------------------------------------------------------- what does not


def test_client_with_a_wrong_token() -> None:
    """A client that skips the check of the server's proof still cannot prove a token it does not know."""
    ours = client(OTHER)
    server = ServerHandshake((TOKEN,))
    _, challenge = server.challenge(ours.hello)
    said = b"rpc_magic client proof 1\0" + ours.hello + challenge + b"\0"
    assert not server.is_proved(hmac.digest(OTHER, said, "sha256"))


def test_server_with_a_wrong_token() -> None:
    """A server that does not know the token gets no proof out of the client; the error names the server."""
    ours = client()
    _, challenge = ServerHandshake((OTHER,)).challenge(ours.hello)
    with pytest.raises(AuthenticationError, match=r"localhost:1.*could not prove") as caught:
        ours.proof(challenge)
    assert TOKEN.hex() not in str(caught.value)
    assert repr(TOKEN) not in repr(caught.value.__dict__)


@pytest.mark.parametrize("same_token", [True, False])
def test_replay(same_token: bool) -> None:
    """A recorded hello and proof admit nobody: not to the handshake they are from, nor to another one."""
    ours = client()
    server = ServerHandshake((TOKEN,))
    _, challenge = server.challenge(ours.hello)
    proof = ours.proof(challenge)
    assert server.is_proved(proof)
    assert not server.is_proved(proof)
    with pytest.raises(ProtocolError, match="second hello"):
        server.challenge(ours.hello)
    another = ServerHandshake((TOKEN if same_token else OTHER,))
    another.challenge(ours.hello)
    assert not another.is_proved(proof)


def test_replay_of_a_challenge() -> None:
    """A recorded challenge does not pass for a server's: the client's nonce is fresh."""
    _, challenge = ServerHandshake((TOKEN,)).challenge(client().hello)
    with pytest.raises(AuthenticationError):
        client().proof(challenge)


def test_one_attempt() -> None:
    """After a wrong proof the right one comes too late; a proof without a hello is none."""
    ours = client()
    server = ServerHandshake((TOKEN,))
    _, challenge = server.challenge(ours.hello)
    proof = ours.proof(challenge)
    assert not server.is_proved(bytes(32))
    assert not server.is_proved(proof)
    assert not ServerHandshake((TOKEN,)).is_proved(
        hmac.digest(TOKEN, b"rpc_magic client proof 1\0\0", "sha256")
    )


def test_reflection() -> None:
    """The server's proof, sent back to it, is no client's proof; the client's is no server's."""
    ours = client()
    server = ServerHandshake((TOKEN,))
    _, challenge = server.challenge(ours.hello)
    assert not server.is_proved(challenge[44:76])
    proof = ours.proof(challenge)
    with pytest.raises(AuthenticationError):
        ours.proof(challenge[:44] + proof + proof)


def test_reflected_to_another_connection() -> None:
    """What a server says to one connection proves nothing on another one, in either role."""
    first, second = ServerHandshake((TOKEN,)), ServerHandshake((TOKEN,))
    ours = client()
    _, challenge = first.challenge(ours.hello)
    _, other = second.challenge(ours.hello)
    assert not second.is_proved(challenge[44:76])
    assert not first.is_proved(ours.proof(other))


@pytest.mark.parametrize(("theirs", "mine"), [(b"a" * 32, b"b" * 32), (b"", b"b" * 32), (b"a" * 32, b"")])
def test_relay(theirs: bytes, mine: bytes) -> None:
    """Through a relay, whose channels differ in their certificates, neither side admits the other."""
    ours = client(binding=mine)
    server = ServerHandshake((TOKEN,), theirs)
    _, challenge = server.challenge(ours.hello)
    with pytest.raises(AuthenticationError):
        ours.proof(challenge)
    honest = ServerHandshake((TOKEN,), mine)
    _, challenge = honest.challenge(ours.hello)
    assert not server.is_proved(ours.proof(challenge))


PLACES = [
    (name, index)
    for name, size in (("hello", HELLO_SIZE), ("challenge", CHALLENGE_SIZE), ("proof", PROOF_SIZE))
    for index in range(size)
]


@pytest.mark.parametrize("tokens", [(TOKEN,), (TOKEN, OTHER)], ids=["one token", "two tokens"])
def test_every_altered_byte_is_refused(tokens: tuple[bytes, ...]) -> None:
    """Any one bit, or all bits, of any byte of hello, challenge and proof changed: nobody is admitted."""
    for name, index in PLACES:
        for bits in (*(1 << bit for bit in range(8)), 0xFF):
            ours = client()
            assert not is_admitted(ours.hello, ServerHandshake(tokens), ours, (name, index, bits)), (
                name,
                index,
            )


@pytest.mark.parametrize("name", ["hello", "challenge", "proof", "verdict"])
@pytest.mark.parametrize("change", [lambda p: p[:-1], lambda p: p + b"\0", lambda p: b""])
def test_another_size(name: str, change: object) -> None:
    """A packet that is too short, too long or empty is refused."""
    assert callable(change)
    ours, server = client(), ServerHandshake((TOKEN,))
    if name == "hello":
        with pytest.raises(ProtocolError):
            server.challenge(change(ours.hello))
        return
    _, challenge = server.challenge(ours.hello)
    if name == "challenge":
        with pytest.raises(ProtocolError):
            ours.proof(change(challenge))
    elif name == "proof":
        assert not server.is_proved(change(ours.proof(challenge)))
    else:
        with pytest.raises(ProtocolError):
            read_verdict(change(write_verdict(Verdict.ADMITTED)))


def test_another_version_is_named_to_the_client() -> None:
    """A server of another version is told from a stranger."""
    ours = client()
    _, challenge = ServerHandshake((TOKEN,)).challenge(ours.hello)
    with pytest.raises(ProtocolError, match="speaks version 2"):
        ours.proof(challenge[:8] + b"\x02" + challenge[9:])
    with pytest.raises(ProtocolError, match="no rpc_magic server"):
        ours.proof(b"HTTP/1.1 400 Bad Request\r\n".ljust(CHALLENGE_SIZE))


@pytest.mark.parametrize(
    "start", [b"GET / HT", b"SSH-2.0-", b"\x16\x03\x01\x02\x00\x01\x00\x01", b"\x80\x04\x95", b""]
)
def test_strangers_are_told_by_eight_bytes(start: bytes) -> None:
    """A browser, an SSH or TLS client and a pickle are refused by the first eight bytes."""
    with pytest.raises(ProtocolError):
        check_start(start)


@pytest.mark.parametrize("tokens", [(), (b"",), (b"short",), (TOKEN, b""), (TOKEN, OTHER, b"3" * 32)])
def test_bad_tokens(tokens: tuple[bytes, ...]) -> None:
    """No handshake can be set up with no token, or with one that could be guessed."""
    with pytest.raises(ValueError, match="token"):
        ServerHandshake(tokens)
    if tokens and len(tokens) < 3:
        with pytest.raises(ValueError, match="token"):
            client(tokens[-1])


def test_nonces_are_fresh() -> None:
    """No two hellos and no two challenges are the same."""
    ours = client()
    assert len({client().hello for _ in range(16)}) == 16
    assert len({ServerHandshake((TOKEN,)).challenge(ours.hello)[1][12:44] for _ in range(16)}) == 16


@pytest.mark.parametrize("verdict", Verdict)
def test_verdicts(verdict: Verdict) -> None:
    """Each verdict comes through; one altered anywhere is never read as ADMITTED."""
    packet = write_verdict(verdict)
    assert len(packet) == VERDICT_SIZE == 8
    assert packet == bytes([verdict]) + bytes(7)
    assert read_verdict(packet) is verdict
    for index in range(1, VERDICT_SIZE):
        with pytest.raises(ProtocolError):
            read_verdict(flipped(packet, index, 1))
    for value in (0, 5, 255):
        with pytest.raises(ProtocolError):
            read_verdict(bytes([value]) + bytes(7))


def test_numbers_on_the_wire_are_fixed() -> None:
    """Roles and verdicts keep their numbers."""
    assert {role.name: role.value for role in Role} == {"CONTROL": 1, "DATA": 2, "FUNCTIONS": 3, "ENGINE": 4}
    names = {verdict.name: verdict.value for verdict in Verdict}
    assert names == {"ADMITTED": 1, "REFUSED": 2, "BUSY": 3, "NO_SUCH_SESSION": 4}


any_bytes = st.one_of(
    st.binary(max_size=200),
    st.binary(min_size=HELLO_SIZE, max_size=HELLO_SIZE),
    st.binary(min_size=HELLO_SIZE - 9, max_size=HELLO_SIZE - 9).map(lambda b: b"rpcmagic\x01" + b),
    st.binary(min_size=CHALLENGE_SIZE, max_size=CHALLENGE_SIZE),
    st.binary(min_size=CHALLENGE_SIZE - 9, max_size=CHALLENGE_SIZE - 9).map(lambda b: b"rpcmagic\x01" + b),
    st.binary(min_size=VERDICT_SIZE, max_size=VERDICT_SIZE),
    st.binary(min_size=PROOF_SIZE, max_size=PROOF_SIZE),
)


@given(data=any_bytes)
def test_any_bytes(data: bytes) -> None:
    """Invariant: any bytes to either side are a packet or one of our two errors, and never a proof."""
    server, ours = ServerHandshake((TOKEN,)), client()
    try:
        server.challenge(data)
    except ProtocolError:
        server = ServerHandshake((TOKEN,))
        server.challenge(secrets.choice([client().hello, ours.hello]))
    assert not server.is_proved(data)
    with pytest.raises((ProtocolError, AuthenticationError)):
        ours.proof(data)
    with contextlib.suppress(ProtocolError):
        read_verdict(data)
    with contextlib.suppress(ProtocolError):
        check_start(data[:START_SIZE])
