"""Runs cells in a real IPython shell as they come on a pipe, and reports what each showed.

One JSON object a line each way: ``{"cell": text}`` or ``{"complete": text}`` in, a report out. Run by conftest.py.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import traceback
from typing import Any, ClassVar

from IPython.core.completer import provisionalcompleter
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets import Type

COLOURS = re.compile(r"\x1b\[[\d;]*m")


class Publisher(DisplayPublisher):
    """Keeps what is displayed."""

    shown: ClassVar[list[dict[str, Any]]] = []

    def publish(
        self, data: Any, metadata: Any = None, *, transient: Any = None, update: Any = False, **_: Any
    ) -> None:
        self.shown.append({"data": data, "metadata": metadata, "transient": transient, "update": update})

    def clear_output(self, wait: bool = False) -> None:
        self.shown.append({"clear": wait})


class Shell(InteractiveShell):
    """A shell whose tracebacks are kept."""

    display_pub_class = Type(Publisher)
    traceback: ClassVar[list[str]] = []

    def _showtraceback(self, etype: Any, evalue: Any, stb: list[str]) -> None:
        self.traceback = list(stb)

    def showtraceback(self, *args: Any, **kwargs: Any) -> None:
        super().showtraceback(*args, **kwargs)


def run(shell: Shell, cell: str) -> dict[str, Any]:
    """Run one cell; report what it showed and how it ended."""
    out, err = io.StringIO(), io.StringIO()
    shell.display_pub.shown, shell.traceback = [], []
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        result = shell.run_cell(cell, store_history=True)
    error = result.error_before_exec or result.error_in_exec
    return {
        "out": out.getvalue(),
        "err": err.getvalue(),
        "shown": [json.loads(json.dumps(one, default=repr)) for one in shell.display_pub.shown],
        "result": repr(result.result),
        "count": result.execution_count,
        "error": None if error is None else type(error).__name__,
        "message": "" if error is None else str(error),
        "bases": [] if error is None else [cls.__name__ for cls in type(error).__mro__],
        "traceback": COLOURS.sub("", "\n".join(shell.traceback)),
    }


def main() -> None:
    """Serve until the pipe ends."""
    requests, reports = os.fdopen(int(sys.argv[1])), os.fdopen(int(sys.argv[2]), "w", buffering=1)
    shell = Shell.instance()
    for line in requests:
        request = json.loads(line)
        try:
            if "complete" in request:
                text = request["complete"]
                with provisionalcompleter():
                    found = [text[: c.start] + c.text for c in shell.Completer.completions(text, len(text))]
                report: dict[str, Any] = {"matches": [one.split()[-1] for one in found]}
            else:
                report = run(shell, request["cell"])
        except BaseException:
            report = {"broken": traceback.format_exc()}
        reports.write(json.dumps(report) + "\n")
    shell.run_line_magic("unload_ext", "rpc_magic")


if __name__ == "__main__":
    main()
