"""Row 21: exceptions that cannot be pickled, built or printed, or never answer: they arrive as text, always."""

from __future__ import annotations

import pytest
from checks import Server, unharmed
from live import within

import rpc_magic
from rpc_magic import errors

CLASSES = """
import threading
class Hostile(Exception):
    def __init__(self, *args, **kwargs):
        super().__init__("told")
        for name, value in kwargs.items():
            setattr(type(self), name, value)
def make(**methods):
    return type("Hostile", (Exception,), methods)("told")
def fail(*_): raise RuntimeError("no")
def leave(*_): raise SystemExit(4)
def hang(*_):
    while True: pass
class Other(Exception):
    def __init__(self, one, *, two): super().__init__("told")
"""
RAISED = {
    "cannot be pickled": "e = make()\ne.lock = threading.Lock()\nraise e",
    "other arguments": "raise Other(1, two=2)",
    "str raises": "raise make(__str__=fail, __repr__=fail)",
    "reduce raises": "raise make(__reduce__=fail, __reduce_ex__=fail)",
    "reduce exits": "raise make(__reduce__=leave, __reduce_ex__=leave)",
    "str exits": "raise make(__str__=leave, __repr__=leave)",
    "str never returns": "raise make(__str__=hang, __repr__=hang)",
    "repr never returns": "raise make(__repr__=hang)",
    "the cause's str never returns": "raise Other(1, two=2) from make(__str__=hang)",
    "getattribute never returns": "raise make(__getattribute__=hang)",
    "getattribute fails": "raise make(__getattribute__=fail)",
    "class never returns": "raise make(__class__=property(hang))",
    "the cause's getattribute never returns": "raise Other(1, two=2) from make(__getattribute__=hang)",
    "reduce never returns": "raise make(__reduce__=hang, __reduce_ex__=hang)",
}


@pytest.mark.parametrize("what", RAISED)
def test_exception(server: Server, what: str) -> None:
    """It arrives with its type's name and its traceback, and with its message where it has one."""
    with unharmed(server), rpc_magic.connect(server.url) as conn:
        conn.run(CLASSES)
        with within(20), pytest.raises(Exception) as caught:  # noqa: PT011 - which class it is, is the matter
            conn.run(RAISED[what])
        record = getattr(caught.value, "__rpc_magic__", None)
        str(caught.value), repr(caught.value)  # whoever prints it neither fails nor waits for ever
        name = (
            caught.value.type_name
            if isinstance(caught.value, errors.RemoteError)
            else type(caught.value).__name__
        )
        assert name.rpartition(".")[2] in {"Hostile", "Other"}, record
        if "str" not in what:
            assert "told" in str(caught.value)
        told = "".join(getattr(caught.value, "__notes__", [])) + str(getattr(caught.value, "traceback", ""))
        assert "In[2]" in told or "line 1" in told or "line 3" in told
        assert conn.call(abs, -1) == 1
