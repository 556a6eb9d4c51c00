"""What a worker tells its client: output, and the ends of calls (protocol page, section 5)."""

from __future__ import annotations

from typing import Any

import msgspec

from rpc_magic.wire.message import Message

__all__ = [
    "CallInfo",
    "CallList",
    "CellDone",
    "ClearOutput",
    "Completions",
    "Display",
    "ErrorRecord",
    "ExecuteResult",
    "Failed",
    "FunctionInfo",
    "FunctionList",
    "InputRequest",
    "Inspected",
    "Kept",
    "Missing",
    "NeedFunction",
    "NextInput",
    "Outcome",
    "Output",
    "OverLimit",
    "Page",
    "Refused",
    "Returned",
    "ShownError",
    "Stream",
    "UnknownFunction",
    "ValueInfo",
    "as_heard",
]


# ---------------------------------------------------------------- worker to client: output


class Output(Message, frozen=True):
    """Base of what a call shows while it runs."""


class Stream(Output, tag=40, frozen=True):
    """Text that was printed. `name` is "stdout" or "stderr"."""

    name: str
    text: str


class Display(Output, tag=41, frozen=True):
    """A MIME bundle shown by ``display()``; bytes in `data` are binary MIME data, not yet base64.

    `update` asks for an earlier display with the same ``transient["display_id"]`` to be replaced.
    """

    data: dict[str, Any]
    metadata: dict[str, Any]
    transient: dict[str, Any]
    update: bool = False


class ClearOutput(Output, tag=42, frozen=True):
    """Clear what the call has shown; `wait` for the next output before doing so."""

    wait: bool = False


class ExecuteResult(Output, tag=43, frozen=True):
    """The MIME bundle of the value of an expression, where it is shown among what else the call shows.

    `is_value`: the value is the cell's own, which the outcome brings. `data` is empty when it has shown itself.
    """

    data: dict[str, Any]
    metadata: dict[str, Any]
    execution_count: int
    is_value: bool = False


class InputRequest(Output, tag=44, frozen=True):
    """The call asks for a line of text; `password` hides what is typed. Answer: `InputReply`."""

    prompt: str
    password: bool = False


class ShownError(Output, tag=45, frozen=True):
    """An error that was shown and did not end the call, as that of a nested cell. `lines` may have ANSI colours."""

    type_name: str
    message: str
    lines: tuple[str, ...]


class Page(Output, tag=46, frozen=True):
    """A text for the pager, as ``?`` gives it; it is no part of what the cell shows."""

    data: dict[str, Any]


class NextInput(Output, tag=47, frozen=True):
    """A text for the next cell; with `replace`, for the one that runs."""

    text: str
    replace: bool = False


# ---------------------------------------------------------------- worker to client: ends of calls


class ValueInfo(msgspec.Struct, frozen=True, array_like=True):
    """What a `RemoteValue` knows of its value.

    Attributes:
        key: names the kept value; empty for a value known by its variable only.
        type_name: as "pandas.DataFrame".
        size: bytes in memory, as well as it can be told cheaply; -1 when unknown.
        extent: shape or length, as "336776 rows x 19 columns" or "len 7"; may be empty.
        preview: the start of its repr, one line; may be empty.
        bundle: the MIME bundle rendered there, when it was a cell's value.
        metadata: of the bundle.
        reason: why it did not come back by itself, one clause; empty when it only waits to be asked for.
    """

    key: str
    type_name: str
    size: int = -1
    extent: str = ""
    preview: str = ""
    bundle: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    reason: str = ""


class ErrorRecord(msgspec.Struct, frozen=True, array_like=True):
    """An exception as text, which arrives whatever the exception is.

    Attributes:
        kind: "error", "exit" (SystemExit), "interrupt" (KeyboardInterrupt), "stop" (StopIteration) or
            "generator_exit".
        type_name: qualified name of its class, as "json.decoder.JSONDecodeError".
        message: ``str(error)``.
        traceback: its plain rendered traceback, remote frames only.
        rendered: lines for a notebook, with ANSI colours.
    """

    kind: str
    type_name: str
    message: str
    traceback: str
    rendered: tuple[str, ...] = ()


class Outcome(Message, frozen=True):
    """Base of what ends a call; each call gets exactly one."""


class Returned(Outcome, tag=60, frozen=True):
    """The value. Buffers: it, plain when `plain`; none for None. `heard`: an interrupt was raised in the code."""

    plain: bool = False
    heard: bool = False


class Kept(Outcome, tag=61, frozen=True):
    """The value stays in the session. `heard` as in `Returned`."""

    info: ValueInfo
    heard: bool = False


class Failed(Outcome, tag=62, frozen=True):
    """The call raised. Buffers: the exception when it can travel, else none."""

    error: ErrorRecord


class CellDone(Outcome, tag=63, frozen=True):
    """A cell has ended, well or not. Buffers: ``(exception, value, names)``.

    `exception` is None when there was none or it cannot travel; `value` is the value of the last expression
    when `value_here`; `names` is a dict of variables that come back as values.

    Attributes:
        execution_count: the session's own count.
        duration: seconds.
        error: set when the cell raised.
        has_value: the cell's last expression has a value other than None.
        value_here: it is in the buffers.
        value: else what is known of it.
        kept: variables that were bound or changed and stay there until they are asked for.
        deleted: variables that the cell deleted.
        mutated: those of `names` and `kept` that were not bound anew but changed in place.
        mates: those of `mutated` that are as they were, and come along because they share objects with others.
        notes: sentences for the user, as about variables that cannot travel.
        file: the name under which the session knows the cell's text, which its functions refer to; empty for an
            expression.
        heard: as in `Returned`.
        surroundings: what the cell changed of these, where they are kept equal.
    """

    execution_count: int
    duration: float
    error: ErrorRecord | None = None
    has_value: bool = False
    value_here: bool = False
    value: ValueInfo | None = None
    kept: dict[str, ValueInfo] = msgspec.field(default_factory=dict)
    deleted: tuple[str, ...] = ()
    mutated: tuple[str, ...] = ()
    mates: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    file: str = ""
    heard: bool = False
    surroundings: dict[str, bytes] = msgspec.field(default_factory=dict)


class Missing(Outcome, tag=64, frozen=True):
    """Variables that were asked for do not exist."""

    names: tuple[str, ...]


class NeedFunction(Outcome, tag=65, frozen=True):
    """The digest is not known (any more): define the function and call again."""

    digest: bytes


class UnknownFunction(Outcome, tag=66, frozen=True):
    """No function of that name is exposed."""

    name: str
    near: tuple[str, ...]
    known: int


class FunctionInfo(msgspec.Struct, frozen=True, array_like=True):
    """An exposed function: `signature` as "(a, b=2)", `doc` its docstring."""

    name: str
    signature: str
    doc: str


class FunctionList(Outcome, tag=67, frozen=True):
    """The exposed functions."""

    functions: tuple[FunctionInfo, ...]


class Inspected(Outcome, tag=68, frozen=True):
    """What `?` shows, as MIME bundle; empty when the name does not exist."""

    data: dict[str, str]


class Completions(Outcome, tag=69, frozen=True):
    """Completions that replace ``text[start:end]``."""

    matches: tuple[str, ...]
    start: int
    end: int


class CallInfo(msgspec.Struct, frozen=True, array_like=True):
    """A call whose client has gone: `state` is "running", "waiting" or "ended", `label` its first line or function."""

    number: int
    label: str
    state: str


class CallList(Outcome, tag=72, frozen=True):
    """Calls whose client has gone, the oldest first."""

    calls: tuple[CallInfo, ...]


class OverLimit(Outcome, tag=70, frozen=True):
    """Something was over a limit; nothing was done. Fields as `LimitError`'s."""

    what: str
    size: int
    limit: int
    unit: str
    setting: str


class Refused(Outcome, tag=71, frozen=True):
    """The server does not do this; `reason` is a sentence that says why and what to do."""

    reason: str


def as_heard(outcome: Outcome) -> Outcome:
    """Return an outcome that says that an interrupt was raised in the call's code; one that is an error as it is."""
    if isinstance(outcome, Returned | Kept | CellDone):
        return msgspec.structs.replace(outcome, heard=True)
    return outcome
