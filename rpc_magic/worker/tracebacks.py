"""Exceptions as text: the record of an error that arrives whatever the exception is.

Rules: frames of rpc_magic itself, and IPython's frames above the user's code, are not shown. Nothing here
raises: an exception whose ``__str__`` fails, or a traceback that IPython cannot render, falls back to
something plainer.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from IPython.core.error import UsageError

from rpc_magic.wire.messages import ErrorRecord
from rpc_magic.worker.answering import StandIn
from rpc_magic.worker.bundles import plain_text
from rpc_magic.worker.cellnames import FILE_NAME
from rpc_magic.worker.patience import OutOfPatienceError, at_most

__all__ = [
    "CELL_LABEL",
    "CELL_NUMBERS",
    "error_record",
    "hide_own_frames",
    "is_unprintable",
    "render_error",
    "text_of",
]

CELL_LABEL = "Remote cell"
CELL_NUMBERS: dict[str, int] = {}
"""The numbers of this process's cells by the names of their files; the shell's compiler fills it."""
LARGEST_TEXT = 1024 * 1024  # characters of one text of a record; a notebook cannot show more usefully
_OWN_FOLDER = str(Path(__file__).resolve().parents[1]) + "/"
# IPython's machinery around the user's code: (end of the file's name, functions).
_HIDDEN = (
    ("IPython/core/interactiveshell.py", frozenset({"run_code", "run_cell_async", "run_ast_nodes"})),
    ("IPython/core/compilerop.py", frozenset({"ast_parse"})),
    ("/codeop.py", frozenset({"__call__"})),
)
_CELL_FILE = re.compile(rf'File "({FILE_NAME.pattern})"')
_UNPRINTABLE = "<the text of this exception could not be made>"
_PATIENCE = 10.0
"""Seconds for each text that an exception is asked for. IPython takes some for a thousand frames on a busy machine."""
_PATIENCE_TO_TRAVEL = 2.0
"""Seconds for all its texts, when only that is asked: do they come."""
_LATE = "<the text of this exception did not come in time>"
_STOPS = (StopIteration, StopAsyncIteration)


def error_record(error: BaseException, *, shell: Any = None) -> ErrorRecord:
    """Describe an exception.

    Args:
        error: the exception; its traceback is cleaned of our own frames.
        shell: the session's shell, which renders the lines for a notebook; None leaves them out.

    Returns:
        The record; texts over `LARGEST_TEXT` characters are cut, with a mark.
    """
    _quietly(hide_own_frames, error)
    message = _cut(text_of(error))
    plain = None if message == _LATE else _quietly(_plain_traceback, error)
    if plain is None or plain is _LATE:
        plain = _frames_alone(error, message)
    rendered: tuple[str, ...] = ()
    if shell is not None:
        lines = None
        if len(message) < LARGEST_TEXT and message != _LATE:  # IPython's colouring would take minutes on it
            lines = _quietly(render_error, shell, error)
        rendered = tuple(_cut_lines(plain.splitlines() if lines is None or lines is _LATE else lines))
    return ErrorRecord(
        kind=_kind_of(error),
        type_name=_name_of(error),
        message=message,
        traceback=_cut(plain),
        rendered=rendered,
    )


def is_unprintable(error: BaseException) -> bool:
    """Tell whether the text of an exception, or of one that it came from, cannot be made.

    Such a one must not reach the client, where printing it would hang or fail in the same way; its record does.
    """
    is_stand_in = any(isinstance(one, StandIn) for one in relatives(error))
    return is_stand_in or _quietly(_make_texts, error, seconds=_PATIENCE_TO_TRAVEL) is not True


def _make_texts(error: BaseException) -> bool:
    """Have an exception, and those that it came from, make the texts that are not Python's own work."""
    for one in relatives(error):
        for show, own in ((str, BaseException.__str__), (repr, BaseException.__repr__)):
            if getattr(type(one), own.__name__) is not own:
                show(one)
    return True


def render_error(shell: Any, error: BaseException) -> list[str]:
    """Render an exception as IPython shows it in a notebook.

    Args:
        shell: the session's shell.
        error: the exception.

    Returns:
        Lines or blocks of lines, with ANSI colours when the shell has colours on.
    """
    kind, trace = type(error), error.__traceback__
    if isinstance(error, UsageError):
        return [f"UsageError: {error}"]
    if isinstance(error, SystemExit):
        hint = (
            "The cell has ended here; the session and its variables live on (%rpc_restart gives a new one).\n"
        )
        return [hint, *shell.InteractiveTB.get_exception_only(kind, error)]
    if isinstance(error, SyntaxError):
        # A syntax error of the cell itself has no frames; one raised by code that ran shows where.
        frames = traceback.extract_tb(trace)
        return [str(line) for line in shell.SyntaxTB.structured_traceback(kind, error, frames)]
    if _has_group(error):
        return _plain_traceback(error).splitlines()
    if hasattr(error, "_render_traceback_"):
        return [str(line) for line in error._render_traceback_()]
    # IPython finds source lines through the frames alone, and needs at least one.
    if trace is None:
        return [str(line) for line in shell.InteractiveTB.get_exception_only(kind, error)]
    return [str(line) for line in shell.InteractiveTB.structured_traceback(kind, error, trace, tb_offset=0)]


def hide_own_frames(error: BaseException) -> None:
    """Take our own frames and IPython's machinery out of an exception and its relatives."""
    for one in relatives(error):
        if one.__traceback__ is not None:
            one.__traceback__ = _without_own_frames(one.__traceback__)


def relatives(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, what it came from, and what it groups, each once."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions


def _without_own_frames(trace: TracebackType) -> TracebackType | None:
    entries: list[TracebackType] = []
    current: TracebackType | None = trace
    while current is not None:
        entries.append(current)
        current = current.tb_next
    kept: TracebackType | None = None
    shown = [entry for entry in entries if not _is_own(entry)]
    if len(shown) == len(entries):
        return trace
    for entry in reversed(shown):
        kept = TracebackType(kept, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return kept


def _is_own(entry: TracebackType) -> bool:
    code = entry.tb_frame.f_code
    if code.co_filename.startswith(_OWN_FOLDER):
        return True
    return any(code.co_name in names and code.co_filename.endswith(end) for end, names in _HIDDEN)


def _has_group(error: BaseException | None) -> bool:
    return error is not None and any(isinstance(one, BaseExceptionGroup) for one in relatives(error))


def _kind_of(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupt"
    if isinstance(error, SystemExit):
        return "exit"
    if isinstance(error, _STOPS):
        return "stop"
    return "generator_exit" if isinstance(error, GeneratorExit) else "error"


def _name_of(error: BaseException) -> str:
    kind = type(error)
    module = getattr(kind, "__module__", None)
    name = kind.__qualname__
    return name if module in {"builtins", "__main__", None} else f"{module}.{name}"


def text_of(error: BaseException) -> str:
    """Return an exception's text, or a sentence where it has none to give."""
    text = _quietly(str, error)
    return _UNPRINTABLE if text is None else plain_text(text)


def _plain_traceback(error: BaseException) -> str:
    text = "".join(traceback.format_exception(error))
    return _CELL_FILE.sub(_label, text)


def _frames_alone(error: BaseException, message: str) -> str:
    """Return the traceback of an exception without asking it, or those it came from, for anything."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"Traceback (most recent call last):\n{frames}{_name_of(error)}: {message}\n"


def _label(match: re.Match[str]) -> str:
    number = CELL_NUMBERS.get(match[1])
    return match[0] if number is None else f"{CELL_LABEL} In[{number}]"


def _quietly(function: Any, *arguments: Any, seconds: float = _PATIENCE) -> Any:
    """Call a function that user code may break; None when it raised anything, `_LATE` when it took too long."""
    try:
        with at_most(seconds):
            return function(*arguments)
    except OutOfPatienceError:
        return _LATE
    except (Exception, SystemExit, GeneratorExit, KeyboardInterrupt):  # noqa: BLE001 - a class of the user's
        return None


def _cut(text: str) -> str:
    text = plain_text(text)
    if len(text) <= LARGEST_TEXT:
        return text
    half = LARGEST_TEXT // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"


def _cut_lines(lines: list[str]) -> list[str]:
    lines = [plain_text(line) for line in lines]
    if sum(map(len, lines)) <= LARGEST_TEXT:
        return lines
    return _cut("\n".join(lines)).splitlines()
