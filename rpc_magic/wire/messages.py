"""What is said on a data connection (protocol page, section 5).

Each message is a frozen struct, encoded as a msgpack array that starts with the struct's tag. A message
travels in a frame (`rpc_magic.wire.frames`), whose header names the call it belongs to; objects travel as the
frame's buffers, never inside a message. A message that says "buffers: x" carries x encoded by
`rpc_magic.serial`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from rpc_magic.wire.decoding import decoder


class Message(msgspec.Struct, frozen=True, array_like=True, tag_field="t"):
    """Base of everything that is said on a data connection."""


# ---------------------------------------------------------------- client to worker: requests, run in order


class DefineFunction(Message, tag=1, frozen=True):
    """Remember a function under its digest. Buffers: the function."""

    digest: bytes


class CallFunction(Message, tag=2, frozen=True):
    """Call a remembered function. Buffers: ``(args, kwargs)``; none when there are no arguments.

    `parent` is the notebook message that caused the call (JSON), empty outside notebooks.
    """

    digest: bytes
    parent: bytes = b""


class CallExposed(Message, tag=3, frozen=True):
    """Call a function that a program exposes. Buffers: ``(args, kwargs)``, plain when `plain`.

    `plain_results`: answer with plain data, or not at all.
    """

    name: str
    plain: bool = False
    plain_results: bool = False


class RunCell(Message, tag=4, frozen=True):
    """Run a cell's text. Buffers: a dict of variables to set first, or none.

    Attributes:
        source: the text as the user wrote it.
        outputs: names to bring back as values; None leaves the choice to `automatic`.
        automatic: report every variable that the cell bound, changed or deleted.
        delete: names to delete first (they were deleted in the kernel).
        watch: names the cell can reach whose value the client holds too: they are reported when changed.
        parent: the notebook message that caused the call (JSON), empty outside notebooks.
        line_offset: lines above `source` in the notebook's cell (1 for the magic's own line).
        expression: `source` is one expression whose value is the outcome; it makes no history entry.
        eager: pickled bytes up to which plain values come back by themselves; -1 for the session's own limit.
        number: the cell's number in the notebook, which it gets in the session as well; 0 leaves it to the session.
        lines, size: of what it prints, so many lines and characters are shown before the rest is thinned out; 0: all.
    """

    source: str
    outputs: tuple[str, ...] | None = None
    automatic: bool = False
    delete: tuple[str, ...] = ()
    watch: tuple[str, ...] = ()
    parent: bytes = b""
    line_offset: int = 0
    expression: bool = False
    eager: int = -1
    number: int = 0
    lines: int = 0
    size: int = 0


class Push(Message, tag=5, frozen=True):
    """Set variables. Buffers: a dict of them."""


class Pull(Message, tag=6, frozen=True):
    """Fetch variables. Answer: `Returned` with a dict of them, or `Missing`.

    `carry`: functions take the globals they refer to with them.
    """

    names: tuple[str, ...]
    carry: bool = True


class Put(Message, tag=7, frozen=True):
    """Keep a value. Buffers: the value. Answer: `Kept`."""


class Get(Message, tag=8, frozen=True):
    """Fetch a kept value. Answer: `Returned`."""

    key: str


class Drop(Message, tag=9, frozen=True):
    """Forget kept values. No answer; may arrive at any time."""

    keys: tuple[str, ...]


class ListFunctions(Message, tag=10, frozen=True):
    """Ask for the exposed functions. Answer: `FunctionList`."""


class Inspect(Message, tag=11, frozen=True):
    """Ask what `?` shows for a name, as "df.groupby". Answer: `Inspected`.

    `values`: names that stand for kept values or variables while this is answered, by their keys (`ValueInfo.key`;
    "=" and a name for a variable).
    """

    name: str
    detail: int = 0
    values: dict[str, str] = {}


class Complete(Message, tag=12, frozen=True):
    """Ask for completions at `cursor` (in characters) of the line `text`. Answer: `Completions`.

    `values`: as for `Inspect`.
    """

    text: str
    cursor: int
    values: dict[str, str] = {}


class MapTask(Message, tag=13, frozen=True):
    """One task for the engine. Buffers: the items, a list of ``(args, kwargs)``.

    `digest` names a function that a `DefineFunction` on the same connection has given.
    """

    digest: bytes


class Fetch(Message, tag=14, frozen=True):
    """A process of the engine asks for a value of the session; without one, where the module `key` is.

    Answer: `Returned` or `Failed`.
    """

    session: str
    key: str


class Configure(Message, tag=15, frozen=True):
    """First message on a data connection, where something is out of the ordinary.

    `plain_results`: send plain data only, keep everything else. `source`: the client runs another Python version,
    so functions are to be sent as source. `far`: the client is far away, so compression may pay.
    """

    plain_results: bool = False
    source: bool = False
    far: bool = False


# ---------------------------------------------------------------- client to worker: at any time


class CancelCall(Message, tag=20, frozen=True):
    """Take a call that waits out of the queue; a running one is interrupted by the control connection."""

    call: int


class InputReply(Message, tag=21, frozen=True):
    """What the user typed; `error` says why nobody could be asked."""

    text: str
    error: str = ""


class Acknowledge(Message, tag=22, frozen=True):
    """Nothing but the frame header's acknowledged number. Both ways."""


# ---------------------------------------------------------------- both ways: large buffers (section 9)


class Parts(Message, tag=23, frozen=True):
    """Chunks of a large buffer of the frame that this transfer ends with. Buffers: those that are not `named`.

    Attributes:
        transfer: its number; they rise.
        buffer: the buffer's place in that frame.
        total: bytes of all large buffers of that frame.
        size: bytes of the buffer.
        start: of the first chunk, in bytes.
        sizes: bytes of each chunk; they follow each other without gaps.
        digests: of all chunks, one after the other.
        named: for each chunk, whether it is only named: the receiver has it, as far as the sender knows.
        packed: the others are compressed, each by itself (Zstandard).
    """

    transfer: int
    buffer: int
    total: int
    size: int
    start: int
    sizes: tuple[int, ...]
    digests: bytes
    named: tuple[bool, ...]
    packed: bool = False


class AllNamed(Message, tag=24, frozen=True):
    """All chunks of a transfer have been told of, some of them only named. Answer: `Lacking`."""

    transfer: int


class Lacking(Message, tag=25, frozen=True):
    """The chunks that were named and are not there, by the buffer's place and the chunk's number in it."""

    transfer: int
    chunks: tuple[tuple[int, int], ...]


class ForgetChunks(Message, tag=26, frozen=True):
    """The content of these chunks changed while they were sent: their digests do not name it."""

    transfer: int
    digests: bytes


class Resumed(Message, tag=27, frozen=True):
    """The worker's first message on a connection that resumes an earlier one; the header says what it has received.

    `is_known`: it goes on where that one broke. Else it knows nothing of it, and both directions begin anew.
    """

    is_known: bool


# ---------------------------------------------------------------- both ways


class CommMessage(Message, tag=30, frozen=True):
    """One message of a widget's comm. Buffers: its binary buffers, as they are."""

    kind: str  # comm_open, comm_msg, comm_close
    comm_id: str
    data: dict[str, Any]
    metadata: dict[str, Any]
    target: str = ""


# ---------------------------------------------------------------- the user's own modules


class FindModule(Message, tag=31, frozen=True):
    """The session asks for a module of the user's. Answer: `ModuleFound`, at once, also while a call runs.

    `name` has no package in front; empty asks for the names that lie in the user's own folders. `paths` asks for the
    content of these files of the module, which an earlier answer has listed; with an empty name, for the text of the
    notebook's cells that have these file names in tracebacks.
    """

    number: int
    name: str
    paths: tuple[str, ...] = ()


class ModuleFound(Message, tag=32, frozen=True):
    """What the client knows of it. Buffers: the content of the files that were asked for, in that order.

    Attributes:
        number: that of the question.
        kind: "local", "extension" (a compiled one: not sent) or "" (not the user's own, or none).
        files: digests of its files by their path below the folder in which it is found.
        extensions: paths of compiled extension modules in it, which are not sent.
        left: paths of files that are not sent because they are over a limit.
        names: names in the user's own folders, when they were asked for.
        distribution: what is to be installed for an installed module of that name; empty when that is not known.
    """

    number: int
    kind: str = ""
    files: dict[str, bytes] = {}
    extensions: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    distribution: str = ""


class ModulesChanged(Message, tag=33, frozen=True):
    """Files of these modules, which the session had asked for, are others now. It asks again before the next call."""

    names: tuple[str, ...]


class Libraries(Message, tag=34, frozen=True):
    """Versions of libraries, of which the sender refers to something for the first time. No answer; both ways.

    The client sends it in the order of its requests, the worker before the outcome of the call.
    """

    versions: dict[str, str]


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
    """The value. Buffers: it, plain when `plain`; none for None."""

    plain: bool = False


class Kept(Outcome, tag=61, frozen=True):
    """The value stays in the session."""

    info: ValueInfo


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
        notes: sentences for the user, as about variables that cannot travel.
    """

    execution_count: int
    duration: float
    error: ErrorRecord | None = None
    has_value: bool = False
    value_here: bool = False
    value: ValueInfo | None = None
    kept: dict[str, ValueInfo] = {}
    deleted: tuple[str, ...] = ()
    mutated: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


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
    | CancelCall
    | InputReply
    | Acknowledge
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
    | Acknowledge
    | Resumed
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


decode_from_engine: Callable[[bytes], Fetch | Returned | Failed] = decoder(Fetch | Returned | Failed)
encode_record = encode
decode_record: Callable[[bytes], ErrorRecord] = decoder(ErrorRecord)
