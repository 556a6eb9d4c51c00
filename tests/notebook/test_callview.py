"""What belongs to the line of a background cell: its output comes below it."""

from __future__ import annotations

from typing import Any

from rpc_magic.notebook.callview import Gate
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
