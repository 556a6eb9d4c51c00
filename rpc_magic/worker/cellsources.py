"""The source of functions that came from a notebook's cells, fetched when an error is to show it.

Such a function names a cell as its file, which only the client has. Nothing of it is sent before an error has a frame
there.
"""

from __future__ import annotations

import linecache
from pathlib import Path
from types import TracebackType

from rpc_magic.worker.questions import Questions
from rpc_magic.worker.tracebacks import relatives

__all__ = ["fetch_sources"]


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
            if file not in files and file not in linecache.cache and not Path(file).exists():
                files[file] = None
            trace = trace.tb_next
    if not files:
        return
    answered = questions.ask("", tuple(files))
    for file, content in zip(files, answered[1] if answered is not None else (), strict=False):
        text = bytes(content).decode(errors="replace")
        if text:
            linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
