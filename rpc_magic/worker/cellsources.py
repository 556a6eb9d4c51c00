"""The source of functions that came from a notebook's cells, fetched when it is to be shown.

Such a function names a cell as its file, which only the client has. Nothing of it is sent before an error has a frame
there, or somebody asks, as `inspect.getsource` does.
"""

from __future__ import annotations

import linecache
from collections.abc import Iterable
from pathlib import Path
from types import FunctionType, TracebackType

from rpc_magic.worker.questions import Questions
from rpc_magic.worker.tracebacks import relatives

__all__ = ["announce_sources", "fetch_sources"]


def announce_sources(values: Iterable[object], questions: Questions) -> None:
    """Have the sources of those functions among `values` that came from cells fetched when somebody asks for them.

    Python asks for no file that is named ``<...>``, as a terminal's cells are.
    """
    for value in values:
        if isinstance(value, FunctionType):
            file = value.__code__.co_filename
            if not file.startswith("<") and _is_elsewhere(file):
                linecache.cache[file] = (lambda file=file: _ask(file, questions),)


def _ask(file: str, questions: Questions) -> str | None:
    answered = questions.ask("", (file,))
    texts = answered[1] if answered is not None else []
    return bytes(texts[0]).decode(errors="replace") or None if texts else None


def _is_elsewhere(file: str) -> bool:
    return len(linecache.cache.get(file, ("",))) == 1 and not Path(file).exists()


def fetch_sources(error: BaseException, questions: Questions) -> None:
    """Have the lines known that the frames of an error, and of those it came from, stand in.

    Raises:
        KeyboardInterrupt: Stop was pressed.
    """
    files: dict[str, None] = {}
    for one in relatives(error):
        trace: TracebackType | None = one.__traceback__
        while trace is not None:
            file = trace.tb_frame.f_code.co_filename
            if file not in files and _is_elsewhere(file):
                files[file] = None
            trace = trace.tb_next
    if not files:
        return
    answered = questions.ask("", tuple(files))
    for file, content in zip(files, answered[1] if answered is not None else (), strict=False):
        text = bytes(content).decode(errors="replace")
        if text:
            linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
