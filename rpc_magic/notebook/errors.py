"""Errors as a notebook shows them.

A misuse is one sentence; what was raised on a server is shown as it was rendered there. Neither shows frames of this
package. Both are raised, so that "Run All", nbclient and papermill stop: IPython's own `UsageError` is only printed,
which papermill takes for success, so ours is a subclass that renders itself.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

from IPython.core.error import UsageError as IPythonUsageError
from IPython.core.getipython import get_ipython

from rpc_magic.client.outcomes import RECORD
from rpc_magic.errors import RpcMagicError

__all__ = ["NOTE", "SERVER", "TracebackHook", "UsageError", "as_coloured_here", "explain", "prepare"]

NOTE = "__rpc_magic_explanation__"
"""Attribute of an exception: a sentence that is shown below its remote traceback."""

SERVER = "__rpc_magic_server__"
"""Attribute of an exception: what the user calls the server on which it was raised."""

_RENDER = "_render_traceback_"
_COLOURS = re.compile(r"\x1b\[[\d;]*m")


class UsageError(RpcMagicError, IPythonUsageError):  # type: ignore[misc]  # IPython is not typed here
    """A magic was used in a way that cannot work; the text says which, and what to do."""

    def _render_traceback_(self) -> list[str]:
        return [f"UsageError: {self}"]


def explain(error: BaseException, sentence: str) -> None:
    """Have `sentence` shown below the remote traceback of an exception."""
    with contextlib.suppress(Exception):
        setattr(error, NOTE, sentence)


def as_coloured_here(text: str) -> str:
    """Return text that was rendered there, without its colours where the shell here shows none."""
    return _COLOURS.sub("", text) if str(getattr(get_ipython(), "colors", "")).lower() == "nocolor" else text


def rendered(error: BaseException) -> list[str] | None:
    """Return what to show for an exception; None leaves it to IPython."""
    record = getattr(error, RECORD, None)
    if record is not None:
        lines = list(record.rendered) or record.traceback.splitlines()
        lines = [as_coloured_here(line) for line in lines]
        if isinstance(error, ImportError) and (where := getattr(error, SERVER, "")):
            lines = [line.replace("%rpc_pip install", f"%rpc_pip -s {where} install") for line in lines]
        note = getattr(error, NOTE, "")
        return [*lines, *(["", note] if note else [])]
    if isinstance(error, RpcMagicError):
        return [f"{type(error).__name__}: {error}"]
    if type(error) is KeyboardInterrupt:  # a second Stop, or one before the cell was sent
        return ["KeyboardInterrupt"]
    return None


def prepare(error: BaseException) -> BaseException:
    """Make an exception render itself in a notebook; one that is not ours is left as it is."""
    if rendered(error) is not None and not hasattr(type(error), _RENDER):
        with contextlib.suppress(Exception):  # a class that takes no attributes still is the user's exception
            setattr(error, _RENDER, lambda: rendered(error) or [])
            error.__traceback__ = None
    return error


def _is_ours(traceback: TracebackType) -> bool:
    return str(traceback.tb_frame.f_globals.get("__name__")).partition(".")[0] == "rpc_magic"


def end_at_the_users_line(error: BaseException | None) -> None:
    """Cut the frames of this package off the end of an exception's traceback, and of those it is chained to.

    An error of ours is one sentence: what it is chained to inside this package is not shown with it.
    """
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        last, step = None, error.__traceback__
        while step is not None:
            last, step = (last if _is_ours(step) else step), step.tb_next
        begins = error.__traceback__
        is_inner = (
            error is not seen[0] and begins is not None and _is_ours(begins)
        )  # of a library that we have called
        if last is None or is_inner:
            error.__traceback__ = None
        else:
            last.tb_next = None
        error = error.__cause__ or error.__context__
    theirs = [one for one in seen if one.__traceback__ is not None]
    if theirs and isinstance(seen[0], RpcMagicError):
        seen[0].__cause__, seen[0].__context__ = None, (theirs[1] if len(theirs) > 1 else None)
        seen[0].__suppress_context__ = False


class TracebackHook:
    """Has what a plain cell gets from a `Connection` end at the user's line.

    Also shows remote syntax errors and exception groups, of which IPython asks no rendering, and says of `%debug` that
    the frames of a remote error are elsewhere.

    Args:
        shell: IPython's shell; its `showtraceback` and `debugger` are wrapped until `remove`.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._original: Callable[..., None] = shell.showtraceback
        self._debugger: Callable[..., None] = shell.debugger
        shell.showtraceback, shell.debugger = self._show, self._debug

    def remove(self) -> None:
        """Put things back as they were; nothing happens when somebody else has wrapped it since."""
        for name, own in (("showtraceback", self._show), ("debugger", self._debug)):
            if self._shell.__dict__.get(name) == own:
                delattr(self._shell, name)

    def _debug(self, force: bool = False) -> None:
        """Open the debugger, unless the frames of the last error are elsewhere."""
        error = getattr(sys, "last_value", None)
        if not hasattr(error, RECORD):
            self._debugger(force=force)
        elif force or self._shell.call_pdb:
            where = getattr(error, SERVER, "")
            sys.stdout.write(
                f"The last error happened {f'on {where}' if where else 'in another process'}, and so its frames are "
                "there: %rpc_debug opens the debugger there. %debug looks at frames of this kernel; %tb shows the "
                "remote traceback again, as it was rendered there.\n"
            )

    def _show(self, exc_tuple: Any = None, *args: Any, **kwargs: Any) -> None:
        error: BaseException | None = exc_tuple[1] if exc_tuple else sys.exc_info()[1]
        if error is None:  # %tb
            error = getattr(sys, "last_value", None)
        is_special = isinstance(error, (SyntaxError, BaseExceptionGroup))
        if error is not None and is_special and hasattr(error, RECORD):
            sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
            self._shell._showtraceback(type(error), error, rendered(error) or [])  # noqa: SLF001 - the front end's hook
            return
        end_at_the_users_line(error)
        self._original(exc_tuple, *args, **kwargs)
