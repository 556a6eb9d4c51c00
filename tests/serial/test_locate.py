"""By reference or by value."""

from __future__ import annotations

import sys
import types

import pytest

from rpc_magic.serial import locate


class Thing: ...


@pytest.mark.parametrize(
    ("thing", "place"),
    [
        (Thing, (__name__, "Thing")),
        (locate.locate, ("rpc_magic.serial.locate", "locate")),
        (lambda: 1, None),
        (types.SimpleNamespace(__module__="__main__", __qualname__="x"), None),
        (types.SimpleNamespace(__module__="no.such.module", __qualname__="x"), None),
        (types.SimpleNamespace(__module__=__name__, __qualname__="Thing"), None),
    ],
)
def test_locate(thing, place):
    """Only what is found under its own name is sent by reference."""
    assert locate.locate(thing) == place


@pytest.mark.parametrize(
    ("registered", "is_by_value"), [("rpc_magic", True), ("rpc_magic.serial", True), ("rpc", False)]
)
def test_modules_that_cloudpickle_sends_by_value(monkeypatch, registered, is_by_value):
    """What the user registered with cloudpickle, or a package around it, goes by value here too."""
    fake = types.ModuleType("cloudpickle")
    fake.list_registry_pickle_by_value = lambda: {registered}
    monkeypatch.setitem(sys.modules, "cloudpickle", fake)
    assert (locate.locate(locate.locate) is None) == is_by_value
    assert locate.is_importable_module(locate) != is_by_value
