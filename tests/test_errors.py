"""The errors: the tree, their fields, and that each survives being pickled."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import pytest

from rpc_magic import errors
from rpc_magic.errors import RpcMagicError

EXAMPLES: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "RpcMagicError": (("a text",), {}),
    "ConnectError": (
        ("h:1", "nobody answers", "Start it."),
        {"url": "h:1", "reason": "nobody answers", "hint": "Start it."},
    ),
    "AuthenticationError": (
        ("h:1", "no", "Do."),
        {"url": "h:1", "reason": "no", "hint": "Do.", "fault": "token"},
    ),
    "TokenMissingError": (("h:1",), {"url": "h:1"}),
    "SessionInUseError": (
        ("h:1", "s", "ann@host, process 5", 61.2),
        {"url": "h:1", "session": "s", "holder": "ann@host, process 5", "since": 61.2},
    ),
    "ConnectionLostError": (
        ("h:1", "reset"),
        {"url": "h:1", "detail": "reset", "is_taken_over": False},
    ),
    "SessionDiedError": (
        ("s", "killed by SIGSEGV", "ouch\n"),
        {"session": "s", "cause": "killed by SIGSEGV", "last_words": "ouch\n"},
    ),
    "CallTimeoutError": ((1.5,), {"seconds": 1.5}),
    "UnknownFunctionError": (("ad", ["add"], 3), {"name": "ad", "near": ("add",), "known": 3}),
    "MissingNameError": ((["x", "y"], "here"), {"missing": ("x", "y"), "where": "here", "name": "x"}),
    "RemoteError": (
        ("m.Odd", "text", "Traceback…"),
        {"type_name": "m.Odd", "message": "text", "traceback": "Traceback…"},
    ),
    "RemoteExit": (
        (3, "Traceback…"),
        {"code": 3, "type_name": "SystemExit", "message": "3", "traceback": "Traceback…"},
    ),
    "RemoteInterrupt": (("KeyboardInterrupt", ""), {"type_name": "KeyboardInterrupt", "message": ""}),
    "RemoteStopIteration": (("StopIteration", "9"), {"type_name": "StopIteration", "message": "9"}),
    "RemoteGeneratorExit": (("GeneratorExit", ""), {"type_name": "GeneratorExit", "message": ""}),
    "RemoteValueError": (("use .get()",), {}),
    "TransferError": (
        ("model.lock", "_thread.lock", "it is tied to this process"),
        {"path": "model.lock", "type_name": "_thread.lock", "reason": "it is tied to this process"},
    ),
    "LimitError": (
        ("the result", 5000, 4000, "bytes", "payload"),
        {"what": "the result", "size": 5000, "limit": 4000, "unit": "bytes", "setting": "payload"},
    ),
    "ProtocolError": (("no frame",), {}),
}


def make(name: str) -> RpcMagicError:
    error = getattr(errors, name)(*EXAMPLES[name][0])
    assert isinstance(error, RpcMagicError)
    return error


def subclasses(cls: type[RpcMagicError]) -> list[type[RpcMagicError]]:
    return [cls, *(below for sub in cls.__subclasses__() for below in subclasses(sub))]


def test_every_error_is_here() -> None:
    """The module's `__all__`, its classes and the examples of this file are the same."""
    declared = {n for n, v in vars(errors).items() if isinstance(v, type) and issubclass(v, RpcMagicError)}
    assert declared == set(errors.__all__) == set(EXAMPLES)
    assert errors.__all__ == sorted(errors.__all__)


def test_tree_is_as_drawn() -> None:
    """The tree in the module's docstring is the tree of classes, builtin bases included."""
    path: list[str] = []
    drawn = 0
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^    ([│├└─ ]*)([A-Z]\w+)(?: +(?:\((\w+)\))?.*)?$", line)
        if not found:
            continue
        depth = len(found[1]) // 4
        path[depth:] = [found[2]]
        cls = getattr(errors, found[2])
        builtin = [base.__name__ for base in cls.__bases__ if not issubclass(base, RpcMagicError)]
        ours = [base.__name__ for base in cls.__bases__ if issubclass(base, RpcMagicError)]
        assert ours == path[depth - 1 : depth] if depth else found[2] == "RpcMagicError"
        assert builtin == ([found[3]] if found[3] else [] if depth else ["Exception"])
        drawn += 1
    assert drawn == len(EXAMPLES)


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("CallTimeoutError", TimeoutError),
        ("UnknownFunctionError", LookupError),
        ("MissingNameError", NameError),
        ("TransferError", TypeError),
        ("LimitError", ValueError),
    ],
)
def test_caught_as_the_builtin(name: str, builtin: type[Exception]) -> None:
    """An error that is a kind of a builtin one is caught as that."""
    with pytest.raises(builtin):
        raise make(name)


def test_remote_control_flow_is_no_control_flow_here() -> None:
    """SystemExit and its like from there are ordinary exceptions here."""
    for name in ("RemoteExit", "RemoteInterrupt", "RemoteStopIteration", "RemoteGeneratorExit"):
        assert not isinstance(make(name), (SystemExit, KeyboardInterrupt, StopIteration, GeneratorExit))
        assert isinstance(make(name), Exception)


@pytest.mark.parametrize("name", EXAMPLES)
def test_fields(name: str) -> None:
    """Each error holds its fields, and its text tells them."""
    error = make(name)
    for field, value in EXAMPLES[name][1].items():
        assert getattr(error, field) == value
    assert str(error)
    first = EXAMPLES[name][0][0]
    if name not in ("MissingNameError", "RemoteExit"):
        assert f"{first}" in str(error)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", EXAMPLES)
def test_pickles(name: str, protocol: int) -> None:
    """Each error comes out of pickle as it was: class, text, args, fields and notes."""
    error = make(name)
    error.add_note("a note")
    again = pickle.loads(pickle.dumps(error, protocol))
    check_same(again, error)
    assert again.__notes__ == ["a note"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_copies(name: str) -> None:
    """Each error can be copied, as concurrent.futures and others do."""
    error = make(name)
    check_same(copy.copy(error), error)
    check_same(copy.deepcopy(error), error)


def check_same(again: RpcMagicError, error: RpcMagicError) -> None:
    assert type(again) is type(error)
    assert (str(again), repr(again), again.args) == (str(error), repr(error), error.args)
    for field in EXAMPLES[type(error).__name__][1]:
        assert getattr(again, field) == getattr(error, field)
    assert again.__dict__ == error.__dict__


def test_texts() -> None:
    """An error's text says what happened, to what, and what to do next."""
    assert str(make("ConnectError")) == "cannot connect to h:1: nobody answers. Start it."
    assert str(errors.ConnectError("h:1", "no")) == "cannot connect to h:1: no."
    assert "--take" in str(make("SessionInUseError"))
    assert "%rpc_restart" in str(make("SessionDiedError"))
    assert str(make("SessionDiedError")).endswith("Its last words:\nouch\n")
    assert "last words" not in str(errors.SessionDiedError("s", "c"))
    assert "Did you mean 'add'?" in str(make("UnknownFunctionError"))
    assert "It exposes 3 others" in str(errors.UnknownFunctionError("zz", (), 3))
    assert "It exposes none" in str(errors.UnknownFunctionError("zz"))
    said = "no variable 'x', 'y' here; nothing was changed. Check the spelling, or bind it first"
    assert str(make("MissingNameError")) == said
    assert str(errors.RemoteError("m.Odd", "")) == "m.Odd"
    assert str(errors.TransferError("", "lock", "why")) == "a lock object cannot travel: why"
    assert str(make("LimitError")) == (
        "the result has 5,000 bytes, over the limit of 4,000; the setting 'payload' moves the limit"
    )


@pytest.mark.parametrize(("code", "kept"), [(None, None), (0, 0), ("bye", "bye"), ([1], "[1]")])
def test_exit_codes(code: object, kept: object) -> None:
    """An exit code that could not travel is kept as its text."""
    error = errors.RemoteExit(code)
    assert error.code == kept
    assert str(error) == ("SystemExit" if code is None else f"SystemExit: {code}")
