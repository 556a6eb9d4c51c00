"""Bars for what takes long: `rpc_magic.notebook.progress`, and what the wire tells it."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from typing import Any

from rpc_magic.client import Transfer
from rpc_magic.notebook.progress import BarKind, Progress

TIMEOUT = 30.0  # seconds


def until(condition: Callable[[], bool], act: Callable[[], None]) -> None:
    """Do something until a condition holds."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        act()
        time.sleep(0.02)


def terminal(kind: BarKind) -> tuple[Progress, io.StringIO]:
    """Return bars, and what they write."""
    return Progress("gpu", kind), io.StringIO()


def test_a_bar_after_half_a_second() -> None:
    """It says what is done, bytes done and in all; before half a second there is none, afterwards nothing is left."""
    progress, err = terminal("text")
    began = time.monotonic()
    with contextlib.redirect_stderr(err), progress.fetching("big, model"):
        until(
            lambda: "fetching big, model from gpu" in err.getvalue(),
            lambda: progress(Transfer(is_upload=False, done=25_000_000, total=100_000_000)),
        )
        assert time.monotonic() - began >= 0.5
        assert "25.0M/100M" in err.getvalue()
        progress(Transfer(is_upload=False, done=90_000_000, total=100_000_000))
        assert "90.0M/100M" in err.getvalue()
    assert err.getvalue().rpartition("\r")[2].strip() == ""


def test_a_value_that_is_prepared_there_has_a_bar() -> None:
    """While nothing has come, how much will come is not known."""
    progress, err = terminal("text")
    with contextlib.redirect_stderr(err), progress.fetching("big"):
        until(lambda: "fetching big from gpu" in err.getvalue(), lambda: progress(None))
        progress(Transfer(is_upload=False, done=1000, total=2000))
        assert "1.00k/2.00k" in err.getvalue()


def test_uploads() -> None:
    """They say where to; the time is counted from when sending began."""
    progress, err = terminal("text")
    with contextlib.redirect_stderr(err):
        until(
            lambda: "sending to gpu" in err.getvalue(),
            lambda: progress(Transfer(is_upload=True, done=10, total=1000)),
        )
        progress(None)
        assert err.getvalue().rpartition("\r")[2].strip() == ""
        before = err.getvalue()
        progress(Transfer(is_upload=True, done=10, total=1000))
        progress(None)
    assert err.getvalue() == before


def test_quiet_where_nobody_watches() -> None:
    """Nothing is written."""
    progress, err = terminal("none")
    began = time.monotonic()
    with contextlib.redirect_stderr(err), progress.fetching("big"):
        until(lambda: time.monotonic() - began > 0.7, lambda: progress(None))
    assert err.getvalue() == ""


def test_a_broken_stream_breaks_no_call() -> None:
    """The call matters more."""
    progress, err = terminal("text")
    err.close()
    began = time.monotonic()
    with contextlib.redirect_stderr(err), progress.fetching("big"):
        until(lambda: time.monotonic() - began > 0.7, lambda: progress(None))


def test_quiet_without_a_terminal(notebook: Any) -> None:
    """A shell without a kernel, whose stderr is no terminal, shows no bar."""
    notebook.good(
        "%%rpc_call\nimport time\nclass Slow:\n    def __reduce__(self):\n        time.sleep(0.8)\n"
        "        return list, ()\nslow = Slow()"
    )
    report = notebook.good("slow")
    assert report.result == "[]"
    assert report.err == ""
