"""A background cell as a person sees it: its state and time, which follow it, and a button that cancels it.

What the cell shows appears below, under the cell that started it. One thread looks after all views, once a second; it
ends with the last call.
"""

from __future__ import annotations

import contextlib
import html
import threading
from collections.abc import Callable
from typing import Any

from rpc_magic.client import Call
from rpc_magic.client.exchange import Show
from rpc_magic.notebook.lasting import Lasting
from rpc_magic.notebook.live import live
from rpc_magic.notebook.registry import Server
from rpc_magic.wire import messages

__all__ = ["Gate", "LiveViews", "state_of_call"]

_EVERY = 1.0
"""Seconds between two looks; the time is shown in seconds."""
_COLOURS = {"running": "#d99a00", "stopping": "#d9480f", "done": "#2e9e4f", "failed": "#c62828"}


def state_of_call(call: Call, server: Server) -> str:
    """Return how a call is: "waiting" for its turn, "running", "stopping", or how it ended."""
    if call.done():
        return call.state
    pong = server.connection.attachment.pong
    if pong is None or pong.call != call.id:
        return "waiting"
    return "stopping" if pong.stopping_seconds else "running"


def _html_of(call: Call, label: str, server: Server) -> str:
    state = state_of_call(call, server)
    colour = _COLOURS.get(state, "#8a8a8a")
    return (
        f'<span style="color:{colour}">●</span> <code>{html.escape(label)}</code> <b>{state}</b> on '
        f"{html.escape(server.name)}, {call.seconds:.0f} s <small>(call {call.id})</small>"
    )


class Gate:
    """Shows what a call shows, but not before its line is there; thread-safe.

    Args:
        show: shows one message.
    """

    def __init__(self, show: Show) -> None:
        self._show = show
        self._lock = threading.Lock()
        self._held: list[tuple[messages.Message, list[memoryview]]] | None = []

    def __call__(self, message: messages.Message, buffers: list[memoryview]) -> None:
        """Show a message now, or when the line is there."""
        with self._lock:
            if self._held is not None:
                self._held.append((message, buffers))
                return
        self._show(message, buffers)

    def open(self) -> None:
        """The line is there, or there will be none."""
        with self._lock:
            for message, buffers in self._held or ():
                self._show(message, buffers)
            self._held = None


class LiveViews:
    """The views of a notebook's background cells. `show` belongs to the main thread."""

    def __init__(self) -> None:
        self._updates: list[tuple[Call, Server, Callable[[], None]]] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_changed = threading.Event()

    def show(self, call: Call, label: str, server: Server) -> bool:
        """Show a call where widgets can be shown; False elsewhere."""
        try:
            import ipywidgets
        except ImportError:
            return False
        is_over = call.done()  # it may end while its line is made
        view, update = _make(ipywidgets, call, label, server)
        lasting = Lasting()
        lasting.show(view, repr(call), _html_of(call, label, server))

        def refresh() -> None:
            update()
            if call.done():  # a saved notebook shows how it ended
                lasting.renew(repr(call), _html_of(call, label, server))

        if not is_over:
            self._follow(call, server, refresh)
        return True

    def _follow(self, call: Call, server: Server, refresh: Callable[[], None]) -> None:
        with self._lock:
            self._updates.append((call, server, refresh))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="rpc_magic-calls", daemon=True)
                self._thread.start()
        self._is_changed.set()  # whether it runs or waits is told at once
        call.add_done_callback(lambda _: self._is_changed.set())

    def _run(self) -> None:
        while True:
            self._is_changed.wait(_EVERY)
            self._is_changed.clear()
            with self._lock:
                updates = list(self._updates)
            for server in {id(server): server for _, server, _ in updates}.values():
                with contextlib.suppress(Exception):  # it is gone; the calls say so
                    server.connection.attachment.control.ask_pong(_EVERY)
            ended = [one for one in updates if one[0].done()]
            for _, _, refresh in updates:
                with contextlib.suppress(Exception):  # a page that is gone must not end the thread
                    refresh()
            with self._lock:
                self._updates = [one for one in self._updates if one not in ended]
                if not self._updates:
                    self._thread = None
                    return


def _make(widgets: Any, call: Call, label: str, server: Server) -> tuple[Any, Callable[[], None]]:
    """Return the widget, and what brings it up to date."""
    light = live(widgets.HTML)(_html_of(call, label, server))
    cancel = live(widgets.Button)(
        description="Cancel", tooltip="Interrupt this cell, or take it out of the queue"
    )
    cancel.layout.width = "auto"
    cancel.disabled = call.done()

    def update() -> None:
        light.value = _html_of(call, label, server)
        if call.done():
            cancel.disabled = True

    cancel.on_click(lambda _: call.cancel())
    return live(widgets.HBox)([light, cancel]), update
