"""The messages of a control connection: all come through, tags stay, other bytes are `ProtocolError`."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_structs import check_hostile_bytes, members, on_the_page, sample, some, tags

from rpc_magic.errors import ProtocolError
from rpc_magic.settings import CONTROL_LIMITS
from rpc_magic.wire import control

CASES = [
    pytest.param(struct, decode, id=struct.__name__)
    for union, decode in (
        (control.ToSupervisor, control.decode_to_supervisor),
        (control.ToClient, control.decode_to_client),
    )
    for struct in members(union)
]

TO_SUPERVISOR = {
    1: "Attach",
    2: "Ping",
    3: "Interrupt",
    4: "Restart",
    5: "Detach",
    6: "ListSessions",
    7: "EndSession",
}
TO_CLIENT = {
    20: "Welcome",
    21: "Attached",
    22: "NotAttached",
    23: "Pong",
    24: "SessionEnded",
    25: "Taken",
    26: "Sessions",
    27: "Goodbye",
}


def test_tags_are_fixed() -> None:
    """A tag never changes its meaning: the table is written out here as on the protocol page."""
    assert tags(control.ToSupervisor) == sorted(TO_SUPERVISOR.items())
    assert tags(control.ToClient) == sorted(TO_CLIENT.items())
    assert not TO_SUPERVISOR.keys() & TO_CLIENT.keys()


def test_protocol_page() -> None:
    """Section 6 of the protocol page lists every message with its tag."""
    assert on_the_page(6) == tags(control.ToSupervisor, control.ToClient)


def test_every_message_has_a_direction() -> None:
    """No message is forgotten in the two unions."""
    declared = {
        value
        for value in vars(control).values()
        if isinstance(value, type) and issubclass(value, control.Control) and value is not control.Control
    }
    assert declared == {*members(control.ToSupervisor), *members(control.ToClient)}


@pytest.mark.parametrize(("struct", "decode"), CASES)
@pytest.mark.parametrize("full", [True, False])
def test_round_trip(struct: type[control.Control], decode: Any, *, full: bool) -> None:
    """Every message comes out equal, with all its fields and with only those that must be there."""
    message = sample(struct, full=full)
    again = decode(control.encode(message))
    assert again == message
    assert type(again) is struct


@pytest.mark.parametrize(("struct", "decode"), CASES)
def test_shape_on_the_wire(struct: type[control.Control], decode: Any) -> None:
    """A message is an array of its tag and its fields; a later version may put more fields at its end."""
    message = sample(struct)
    array = msgspec.msgpack.decode(control.encode(message))
    assert array[0] == struct.__struct_config__.tag
    assert decode(msgspec.msgpack.encode([*array, None])) == message


def test_direction_is_checked() -> None:
    """A message that goes the other way is refused."""
    with pytest.raises(ProtocolError):
        control.decode_to_supervisor(control.encode(control.Goodbye("it ends")))
    with pytest.raises(ProtocolError):
        control.decode_to_client(control.encode(control.Ping(1)))


def test_largest_environment_fits() -> None:
    """An environment and a path as large as Linux lets them be fit into a control message."""
    environ = {f"VARIABLE_{n}": "x" * 100_000 for n in range(20)}  # 2 MB: ARG_MAX's usual value
    info = control.ClientInfo(1, "h", "u", (3, 11, 3495), "/", ("/" + "p" * 4000,) * 100, environ)
    assert len(control.encode(control.Attach("", False, info))) < CONTROL_LIMITS.message


def test_hostile_bytes() -> None:
    """Bytes made to exhaust stack or memory, or to be unpickled, are refused."""
    check_hostile_bytes(control.decode_to_supervisor)
    check_hostile_bytes(control.decode_to_client)


@settings(deadline=None)
@given(message=some(control.ToSupervisor))
def test_any_to_supervisor(message: Any) -> None:
    """Invariant: whatever is in its fields, a message to the supervisor comes out equal."""
    assert control.decode_to_supervisor(control.encode(message)) == message


@settings(deadline=None)
@given(message=some(control.ToClient))
def test_any_to_client(message: Any) -> None:
    """Invariant: whatever is in its fields, a message to the client comes out equal."""
    assert control.decode_to_client(control.encode(message)) == message


@settings(deadline=None)
@given(
    data=st.binary(max_size=100), tag=st.sampled_from([*TO_SUPERVISOR, *TO_CLIENT]), size=st.integers(1, 13)
)
def test_any_bytes(data: bytes, tag: int, size: int) -> None:
    """Invariant: any bytes, also behind a good tag, are a message or `ProtocolError`."""
    for start in (b"", bytes([0x90 + size, tag])):
        for decode in (control.decode_to_supervisor, control.decode_to_client):
            with contextlib.suppress(ProtocolError):
                assert isinstance(decode(start + data), control.Control)
