"""What a client asks a worker for (protocol page, section 5)."""

from __future__ import annotations

import msgspec

from rpc_magic.wire.message import Message

__all__ = [
    "Acknowledge",
    "CallExposed",
    "CallFunction",
    "CancelCall",
    "Complete",
    "Configure",
    "DefineFunction",
    "Drop",
    "Fetch",
    "Follow",
    "Get",
    "InputReply",
    "Inspect",
    "ListCalls",
    "ListFunctions",
    "MapTask",
    "Pull",
    "Push",
    "Put",
    "RunCell",
]


# ---------------------------------------------------------------- client to worker: requests, run in order


class DefineFunction(Message, tag=1, frozen=True):
    """Remember a function under its digest. Buffers: the function."""

    digest: bytes


class CallFunction(Message, tag=2, frozen=True):
    """Call a remembered function. Buffers: ``(args, kwargs)``; none when there are no arguments.

    `parent` is the notebook message that caused the call (JSON), empty outside notebooks. With `show`, the value is
    shown there, after figures that were drawn, as a cell's would be; what is returned is nothing.
    """

    digest: bytes
    parent: bytes = b""
    show: bool = False


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
        imports: parts of packages to import first: the notebook has imported them, as by ``import a.b``.
        anew: report every variable as bound by this cell: the client is new to the session.
        surroundings: what has changed of the states that `rpc_magic.surroundings` keeps equal, each encoded; None keeps
            them apart.
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
    surroundings: dict[str, bytes] | None = None
    imports: tuple[str, ...] = ()
    anew: bool = False


class Push(Message, tag=5, frozen=True):
    """Set variables. Buffers: a dict of them."""


class Pull(Message, tag=6, frozen=True):
    """Fetch variables. Answer: `Returned` with a dict of them, or `Missing`.

    `carry`: functions take the globals they refer to with them. `mates`: the variables that share objects with these
    come as well, where they are not large and can travel.
    """

    names: tuple[str, ...]
    carry: bool = True
    mates: bool = False


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
    values: dict[str, str] = msgspec.field(default_factory=dict)


class Complete(Message, tag=12, frozen=True):
    """Ask for completions at `cursor` (in characters) of the line `text`. Answer: `Completions`.

    `values`: as for `Inspect`.
    """

    text: str
    cursor: int
    values: dict[str, str] = msgspec.field(default_factory=dict)


class MapTask(Message, tag=13, frozen=True):
    """One task for the engine. Buffers: the items, a list of ``(args, kwargs)``.

    `digest` names a function that a `DefineFunction` on the same connection has given. `plain_results`: answer with
    plain data; a result that is none is an error.
    """

    digest: bytes
    plain_results: bool = False


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


class ListCalls(Message, tag=16, frozen=True):
    """Ask for the calls of clients that have gone, whose end nobody has received. Answer: `CallList`, at once."""


class Follow(Message, tag=17, frozen=True):
    """Get what such a call has shown and will show, and its outcome, as if it were this one. At once; or `Refused`."""

    number: int


class CancelCall(Message, tag=20, frozen=True):
    """Take a call that waits out of the queue; a running one is interrupted by the control connection."""

    call: int


class InputReply(Message, tag=21, frozen=True):
    """What the user typed; `error` says why nobody could be asked."""

    text: str
    error: str = ""


class Acknowledge(Message, tag=22, frozen=True):
    """Nothing but the frame header's acknowledged number. Both ways."""
