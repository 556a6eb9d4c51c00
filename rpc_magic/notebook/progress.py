"""Bars for what takes long to send or to fetch: tqdm's, on a page or in a terminal."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any, Literal

from rpc_magic.client import Transfer

__all__ = ["BarKind", "Progress"]

BarKind = Literal["notebook", "text", "none"]

_AFTER = 0.5
"""Seconds that something takes before a bar is shown."""
_NAMES = 40
"""Characters of the names that a bar shows."""


class Progress:
    """Shows how far what one server's calls send and fetch has come; `Exchange.watch` of its connection.

    A bar is there while it is needed and leaves nothing behind. It is shown for what the main thread waits for, which
    runs the cells; what other threads do with the connection is theirs.

    Args:
        server: what the server is called.
        kind: where a bar can be seen.
    """

    def __init__(self, server: str, kind: BarKind) -> None:
        self._server, self._kind = server, kind
        self._names = ""
        self._began = 0.0
        self._is_upload = False
        self._bar: Any = None

    @contextlib.contextmanager
    def fetching(self, names: str) -> Iterator[None]:
        """Show what happens in the block as fetching these variables, from when the server prepares them."""
        self._names, self._began = names, time.monotonic()
        try:
            yield
        finally:
            self._names = ""
            self._close()

    def __call__(self, transfer: Transfer | None) -> None:
        """Take note of how far it is; None: nothing is on its way."""
        if self._kind == "none" or threading.current_thread() is not threading.main_thread():
            return
        with contextlib.suppress(
            Exception
        ):  # a front end without widgets, a closed stream: the call matters more
            self._show(transfer)

    def _show(self, transfer: Transfer | None) -> None:
        if transfer is None:
            if not self._names:
                self._began = 0.0
                self._close()
            elif self._is_due():
                self._open(0, is_upload=False)
            return
        self._began = self._began or time.monotonic()
        if not self._is_due():
            return
        self._open(transfer.total, is_upload=transfer.is_upload)
        self._bar.update(transfer.done - self._bar.n)

    def _is_due(self) -> bool:
        return time.monotonic() - self._began >= _AFTER

    def _open(self, total: int, *, is_upload: bool) -> None:
        """Have a bar for so many bytes; 0: it is not known how many."""
        if self._bar is not None and self._is_upload is is_upload and (self._bar.total or 0) == total:
            return
        self._close()
        names = self._names if len(self._names) <= _NAMES else f"{self._names[: _NAMES - 1]}…"
        what = f"sending to {self._server}" if is_upload else f"fetching {names} from {self._server}"
        kind = _bar_class(self._kind)
        self._is_upload = is_upload
        self._bar = kind(
            desc=" ".join(what.split()),
            total=total or None,
            unit="B",
            unit_scale=True,
            leave=False,
            mininterval=0,
        )

    def _close(self) -> None:
        bar, self._bar = self._bar, None
        if bar is not None:
            with contextlib.suppress(Exception):
                bar.total = bar.n  # one that is not full would be taken for a failure, and stay
                bar.close()


def _bar_class(kind: BarKind) -> Any:
    if kind == "notebook":
        from tqdm.notebook import tqdm
    else:
        from tqdm.std import tqdm

    class Bar(tqdm):  # type: ignore[misc]  # tqdm is not typed here
        """A bar without a thread that looks after it: it is updated as long as it lives."""

        monitor_interval = 0

    return Bar
