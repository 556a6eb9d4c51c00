"""The messages of a data connection: all come through, tags stay, other bytes are `ProtocolError`."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_structs import check_hostile_bytes, members, on_the_page, sample, some, tags

from rpc_magic.errors import ProtocolError
from rpc_magic.wire import messages

FromEngine = messages.Fetch | messages.Returned | messages.Failed
Chunks = messages.Parts | messages.ForgetChunks

CASES = [
    pytest.param(struct, decode, id=f"{struct.__name__}-{decode_name}")
    for union, decode, decode_name in (
        (messages.Request, messages.decode_request, "request"),
        (messages.Answer, messages.decode_answer, "answer"),
        (FromEngine, messages.decode_from_engine, "from_engine"),
        (Chunks, messages.decode_transferring, "transferring"),
    )
    for struct in members(union)
]

REQUESTS = {
    1: "DefineFunction",
    2: "CallFunction",
    3: "CallExposed",
    4: "RunCell",
    5: "Push",
    6: "Pull",
    7: "Put",
    8: "Get",
    9: "Drop",
    10: "ListFunctions",
    11: "Inspect",
    12: "Complete",
    13: "MapTask",
    15: "Configure",
    16: "ListCalls",
    17: "Follow",
    20: "CancelCall",
    21: "InputReply",
    22: "Acknowledge",
    24: "AllNamed",
    25: "Lacking",
    28: "Leave",
    30: "CommMessage",
    32: "ModuleFound",
    33: "ModulesChanged",
    34: "Libraries",
}
CHUNKS = {23: "Parts", 26: "ForgetChunks"}
FROM_ENGINE = {14: "Fetch", 60: "Returned", 62: "Failed"}
ANSWERS = {
    22: "Acknowledge",
    24: "AllNamed",
    25: "Lacking",
    27: "Resumed",
    29: "NothingMore",
    30: "CommMessage",
    31: "FindModule",
    34: "Libraries",
    40: "Stream",
    41: "Display",
    42: "ClearOutput",
    43: "ExecuteResult",
    44: "InputRequest",
    45: "ShownError",
    46: "Page",
    47: "NextInput",
    60: "Returned",
    61: "Kept",
    62: "Failed",
    63: "CellDone",
    64: "Missing",
    65: "NeedFunction",
    66: "UnknownFunction",
    67: "FunctionList",
    68: "Inspected",
    69: "Completions",
    70: "OverLimit",
    71: "Refused",
    72: "CallList",
}


def test_tags_are_fixed() -> None:
    """A tag never changes its meaning: the table is written out here as on the protocol page."""
    assert tags(messages.Request) == sorted(REQUESTS.items())
    assert tags(messages.Answer) == sorted(ANSWERS.items())
    assert tags(FromEngine) == sorted(FROM_ENGINE.items())
    assert tags(Chunks) == sorted(CHUNKS.items())
    both = {22: "Acknowledge", 24: "AllNamed", 25: "Lacking", 30: "CommMessage", 34: "Libraries"}
    assert {n: name for n, name in REQUESTS.items() if n in ANSWERS} == both


def test_protocol_page() -> None:
    """Section 5 of the protocol page lists every message with its tag."""
    assert on_the_page(5) == tags(messages.Request, messages.Answer, FromEngine, Chunks)


def test_every_message_has_a_direction() -> None:
    """No message is forgotten in the unions."""
    declared = {
        value
        for value in vars(messages).values()
        if isinstance(value, type)
        and issubclass(value, messages.Message)
        and value not in (messages.Message, messages.Output, messages.Outcome)
    }
    assert declared == {
        *members(messages.Request),
        *members(messages.Answer),
        *members(FromEngine),
        *members(Chunks),
    }


@pytest.mark.parametrize(("struct", "decode"), CASES)
@pytest.mark.parametrize("full", [True, False])
def test_round_trip(struct: type[messages.Message], decode: Any, *, full: bool) -> None:
    """Every message comes out equal, with all its fields and with only those that must be there."""
    message = sample(struct, full=full)
    again = decode(messages.encode(message))
    assert again == message
    assert type(again) is struct


@pytest.mark.parametrize(("struct", "decode"), CASES)
def test_shape_on_the_wire(struct: type[messages.Message], decode: Any) -> None:
    """A message is an array of its tag and its fields; a later version may put more fields at its end."""
    message = sample(struct)
    array = msgspec.msgpack.decode(messages.encode(message))
    assert array[0] == struct.__struct_config__.tag
    assert len(array) == 1 + len(msgspec.structs.fields(struct))
    assert decode(msgspec.msgpack.encode([*array, "of a later version", {}])) == message


@pytest.mark.parametrize(("struct", "decode"), CASES)
def test_frozen(struct: type[messages.Message], decode: Any) -> None:
    """No message can be changed."""
    for field in msgspec.structs.fields(struct):
        with pytest.raises(AttributeError):
            setattr(sample(struct), field.name, None)


def test_direction_is_checked() -> None:
    """A message that goes the other way is refused."""
    with pytest.raises(ProtocolError):
        messages.decode_request(messages.encode(messages.Returned()))
    with pytest.raises(ProtocolError):
        messages.decode_answer(messages.encode(messages.RunCell("x")))


def test_error_record() -> None:
    """An error record on its own comes out equal; other bytes are refused."""
    record = sample(messages.ErrorRecord)
    assert messages.decode_record(messages.encode_record(record)) == record
    check_hostile_bytes(messages.decode_record)


def test_hostile_bytes() -> None:
    """Bytes made to exhaust stack or memory, or to be unpickled, are refused."""
    check_hostile_bytes(messages.decode_request, b"\x95\x1e\xa1a\xa1a\x81\xa1a")
    check_hostile_bytes(messages.decode_answer, b"\x94\x29\x81\xa1a")


@settings(deadline=None)
@given(message=some(messages.Request))
def test_any_request(message: Any) -> None:
    """Invariant: whatever is in its fields, a request comes out equal."""
    assert messages.decode_request(messages.encode(message)) == message


@settings(deadline=None)
@given(message=some(messages.Answer))
def test_any_answer(message: Any) -> None:
    """Invariant: whatever is in its fields, an answer comes out equal."""
    assert messages.decode_answer(messages.encode(message)) == message


@settings(deadline=None)
@given(
    data=st.binary(max_size=100), tag=st.sampled_from(sorted({*REQUESTS, *ANSWERS})), size=st.integers(1, 9)
)
def test_any_bytes(data: bytes, tag: int, size: int) -> None:
    """Invariant: any bytes, also behind a good tag, are a message or `ProtocolError`."""
    for start in (b"", bytes([0x90 + size, tag])):
        for decode in (messages.decode_request, messages.decode_answer, messages.decode_from_engine):
            with contextlib.suppress(ProtocolError):
                assert isinstance(decode(start + data), messages.Message)
