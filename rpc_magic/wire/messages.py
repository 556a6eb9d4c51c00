"""What is said on a data connection (protocol page, section 5).

Each message is a frozen struct, encoded as a msgpack array that starts with the struct's tag. A message
travels in a frame (`rpc_magic.wire.frames`), whose header names the call it belongs to; objects travel as the
frame's buffers, never inside a message. A message that says "buffers: x" carries x encoded by
`rpc_magic.serial`.

They are declared by who says them: `requests` (the client), `answers` (the worker), `exchanges` (both). Here they are
together, with what encodes and decodes them.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from rpc_magic.wire.answers import (
    CallInfo,
    CallList,
    CellDone,
    ClearOutput,
    Completions,
    Display,
    ErrorRecord,
    ExecuteResult,
    Failed,
    FunctionInfo,
    FunctionList,
    InputRequest,
    Inspected,
    Kept,
    Missing,
    NeedFunction,
    NextInput,
    Outcome,
    Output,
    OverLimit,
    Page,
    Refused,
    Returned,
    ShownError,
    Stream,
    UnknownFunction,
    ValueInfo,
    as_heard,
)
from rpc_magic.wire.decoding import decoder
from rpc_magic.wire.exchanges import (
    AllNamed,
    CommMessage,
    FindModule,
    ForgetChunks,
    Lacking,
    Leave,
    Libraries,
    ModuleFound,
    ModulesChanged,
    NothingMore,
    Parts,
    Resumed,
)
from rpc_magic.wire.message import Message
from rpc_magic.wire.requests import (
    Acknowledge,
    CallExposed,
    CallFunction,
    CancelCall,
    Complete,
    Configure,
    DefineFunction,
    Drop,
    Fetch,
    Follow,
    Get,
    InputReply,
    Inspect,
    ListCalls,
    ListFunctions,
    MapTask,
    Pull,
    Push,
    Put,
    RunCell,
)

__all__ = [
    "ACKNOWLEDGE",
    "Acknowledge",
    "AllNamed",
    "Answer",
    "CallExposed",
    "CallFunction",
    "CallInfo",
    "CallList",
    "CancelCall",
    "CellDone",
    "ClearOutput",
    "CommMessage",
    "Complete",
    "Completions",
    "Configure",
    "DefineFunction",
    "Display",
    "Drop",
    "ErrorRecord",
    "ExecuteResult",
    "Failed",
    "Fetch",
    "FindModule",
    "Follow",
    "ForgetChunks",
    "FunctionInfo",
    "FunctionList",
    "Get",
    "InputReply",
    "InputRequest",
    "Inspect",
    "Inspected",
    "Kept",
    "Lacking",
    "Leave",
    "Libraries",
    "ListCalls",
    "ListFunctions",
    "MapTask",
    "Message",
    "Missing",
    "ModuleFound",
    "ModulesChanged",
    "NeedFunction",
    "NextInput",
    "NothingMore",
    "Outcome",
    "Output",
    "OverLimit",
    "Page",
    "Parts",
    "Pull",
    "Push",
    "Put",
    "Refused",
    "Request",
    "Resumed",
    "Returned",
    "RunCell",
    "ShownError",
    "Stream",
    "UnknownFunction",
    "ValueInfo",
    "as_heard",
    "decode_answer",
    "decode_from_engine",
    "decode_record",
    "decode_request",
    "decode_transferring",
    "encode",
    "encode_record",
]

Request = (
    AllNamed
    | Lacking
    | DefineFunction
    | CallFunction
    | CallExposed
    | RunCell
    | Push
    | Pull
    | Put
    | Get
    | Drop
    | ListFunctions
    | Inspect
    | Complete
    | MapTask
    | Configure
    | ListCalls
    | Follow
    | CancelCall
    | InputReply
    | Acknowledge
    | Leave
    | CommMessage
    | ModuleFound
    | ModulesChanged
    | Libraries
)
Answer = (
    AllNamed
    | Lacking
    | CommMessage
    | FindModule
    | Libraries
    | Stream
    | Display
    | ClearOutput
    | ExecuteResult
    | InputRequest
    | ShownError
    | Page
    | NextInput
    | Returned
    | Kept
    | Failed
    | CellDone
    | Missing
    | NeedFunction
    | UnknownFunction
    | FunctionList
    | Inspected
    | Completions
    | OverLimit
    | Refused
    | CallList
    | Acknowledge
    | Resumed
    | NothingMore
)

encode = msgspec.msgpack.Encoder().encode
decode_request: Callable[[bytes], Request] = decoder(Request)
decode_answer: Callable[[bytes], Answer] = decoder(Answer)
_decode_transferring: Callable[[bytes], Parts | ForgetChunks | AllNamed] = decoder(
    Parts | ForgetChunks | AllNamed
)
_TRANSFERRING = {
    encode(message)[1] for message in (Parts(0, 0, 0, 0, 0, (), b"", ()), ForgetChunks(0, b""), AllNamed(0))
}


def decode_transferring(data: bytes) -> Parts | ForgetChunks | AllNamed | None:
    """Return a message that goes ahead of a frame with large buffers; None for any other.

    Raises:
        ProtocolError: it cannot be read.
    """
    return _decode_transferring(data) if len(data) > 1 and data[1] in _TRANSFERRING else None


decode_from_engine: Callable[[bytes], Fetch | Returned | Failed | OverLimit] = decoder(
    Fetch | Returned | Failed | OverLimit
)
encode_record = encode
decode_record: Callable[[bytes], ErrorRecord] = decoder(ErrorRecord)
ACKNOWLEDGE = encode(Acknowledge())
"""Encoded once: it tells nothing but what the frame header has."""
