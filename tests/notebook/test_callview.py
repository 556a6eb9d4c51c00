"""The line of a background cell, and its output, which comes below it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from rpc_magic.client import Call
from rpc_magic.notebook import callview, lasting
from rpc_magic.notebook.callview import Gate, LiveViews
from rpc_magic.wire import messages


def test_output_waits_for_the_line() -> None:
    """What comes before the gate is open is shown in its order then, what comes later at once."""
    shown: list[Any] = []
    gate = Gate(lambda message, buffers: shown.append((message.text, buffers)))
    gate(messages.Stream("stdout", "a"), [])
    gate(messages.Stream("stdout", "b"), [memoryview(b"x")])
    assert shown == []
    gate.open()
    gate(messages.Stream("stdout", "c"), [])
    gate.open()
    assert shown == [("a", []), ("b", [memoryview(b"x")]), ("c", [])]


def test_a_cell_that_ends_while_its_line_is_made(monkeypatch: pytest.MonkeyPatch, time_factor: float) -> None:
    """The line shows the end all the same."""
    call = Call("quick", lambda *_: None, lambda *_: None, lambda _: None)
    server = SimpleNamespace(name="lab", connection=None)
    lines: list[Any] = []

    def show(self: Any, widget: Any, plain: str, line: str) -> None:
        lines.append(widget.children[0])
        call.set_result(None)

    monkeypatch.setattr(lasting.Lasting, "show", show)
    monkeypatch.setattr(callview, "state_of_call", lambda call, _: "done" if call.done() else "waiting")
    views = LiveViews()
    views.show(call, "quick", server)
    if views._thread is not None:
        views._thread.join(30 * time_factor)
    assert "<b>done</b>" in lines[0].value
