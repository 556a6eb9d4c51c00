"""Exposed functions, without sockets."""

from __future__ import annotations

import types

import pytest

from rpc_magic import serial
from rpc_magic.errors import RpcMagicError
from rpc_magic.wire import messages
from rpc_magic.worker.exposed import Exposed, public_functions


def add(a, b=1):
    """Add."""
    return a + b


def called(exposed, name, *args, plain=False, plain_results=False):
    encode = serial.encode_plain if plain else serial.encode
    return exposed.call(messages.CallExposed(name, plain, plain_results), encode((args, {})))


def test_answers():
    """A value, None, plain and otherwise; an exception; an unknown name."""
    exposed = Exposed("any")
    for function in (add, lambda: None, lambda: {1}, lambda: 1 / 0):
        exposed.add(function, None if function is add else f"f{len(exposed.names)}")
    outcome, buffers = called(exposed, "add", 2, 3)
    assert (outcome, serial.decode(buffers)) == (messages.Returned(), 5)
    outcome, buffers = called(exposed, "add", 2, 3, plain=True, plain_results=True)
    assert (outcome, serial.decode_plain(buffers)) == (messages.Returned(plain=True), 5)
    assert called(exposed, "f1") == (messages.Returned(), ())
    outcome, _ = called(exposed, "f3")
    assert outcome.error.type_name == "ZeroDivisionError"
    outcome, _ = called(exposed, "ad")
    assert outcome == messages.UnknownFunction("ad", ("add",), 4)
    outcome, _ = called(exposed, "f2", plain_results=True)
    assert isinstance(outcome, (messages.Returned, messages.Failed))


def test_plain_only():
    """Objects are refused unread; results are plain."""
    exposed = Exposed("data")
    exposed.add(add, None)
    outcome, _ = exposed.call(messages.CallExposed("add"), [b"not even a pickle"])
    assert isinstance(outcome, messages.Refused)
    outcome, buffers = called(exposed, "add", 2, plain=True)
    assert outcome.plain
    assert serial.decode_plain(buffers) == 3
    outcome, _ = exposed.call(messages.CallExposed("add", plain=True), [b"garbage"])
    assert isinstance(outcome, messages.Failed)


def test_interrupt_is_the_callers_business():
    """KeyboardInterrupt passes through."""
    exposed = Exposed("any")

    def stop():
        raise KeyboardInterrupt

    exposed.add(stop, None)
    with pytest.raises(KeyboardInterrupt):
        called(exposed, "stop")


def test_descriptions():
    """Signature and docstring; builtins without a signature get a general one."""
    exposed = Exposed("any")
    exposed.add(add, None)
    exposed.add(max, "largest")
    one, two = exposed.listing().functions
    assert one == messages.FunctionInfo("add", "(a, b=1)", "Add.")
    assert two.signature == "(*args, **kwargs)"
    assert two.doc.startswith("max(")


def test_public_functions():
    """A module's own public functions, or exactly what __all__ names; a module without any is refused."""
    module = types.ModuleType("shop")
    exec("from math import sqrt\ndef a(): pass\ndef _b(): pass\nclass C: pass\nd = 1", module.__dict__)
    assert set(public_functions(module)) == {"a"}
    module.__all__ = ["sqrt", "_b"]
    assert set(public_functions(module)) == {"sqrt", "_b"}
    module.__all__ = []
    with pytest.raises(RpcMagicError, match="shop"):
        public_functions(module)
