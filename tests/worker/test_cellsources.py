"""Lines of cells are asked for when an error stands in them, and then known."""

from __future__ import annotations

import inspect
import linecache
import traceback

import pytest

from rpc_magic.wire import messages
from rpc_magic.worker.cellsources import announce_sources, fetch_sources

TEXT = "def f():\n    raise KeyError(1)  # here\n"


class Client:
    def __init__(self, *contents: bytes) -> None:
        self.contents, self.asked = contents, []

    def ask(self, name, paths):
        self.asked.append((name, paths))
        return (messages.ModuleFound(1), list(self.contents)) if self.contents else None


@pytest.fixture
def error(monkeypatch):
    """A ValueError from a KeyError that was raised in a cell of elsewhere."""
    monkeypatch.setattr(linecache, "cache", dict(linecache.cache))
    namespace: dict = {}
    exec(compile(TEXT, "<a cell elsewhere>", "exec"), namespace)
    try:
        try:
            namespace["f"]()
        except KeyError as cause:
            raise ValueError from cause
    except ValueError as raised:
        return raised


def test_lines_of_all_errors_are_fetched_once(error):
    """Also of those that it came from; a file that is here is not asked for."""
    client = Client(TEXT.encode())
    fetch_sources(error, client)
    fetch_sources(error, client)
    assert client.asked == [("", ("<a cell elsewhere>",))]
    assert "# here" in "".join(traceback.format_exception(error))


def test_lines_that_nobody_has(error):
    """Neither an empty answer nor none changes anything."""
    for client in (Client(b""), Client()):
        fetch_sources(error, client)
        assert "<a cell elsewhere>" not in linecache.cache


def test_sources_are_fetched_when_somebody_asks(monkeypatch):
    """`inspect.getsource` of a function that came finds it; nothing is asked before, nor for what is no function."""
    monkeypatch.setattr(linecache, "cache", dict(linecache.cache))
    namespace: dict = {}
    exec(compile(TEXT, "/no/such/folder/another_cell.py", "exec"), namespace)
    client = Client(TEXT.encode())
    announce_sources([3, len, namespace["f"]], client)
    assert client.asked == []
    assert inspect.getsource(namespace["f"]) == TEXT
    assert client.asked == [("", ("/no/such/folder/another_cell.py",))]
    announce_sources([namespace["f"]], client)
    assert linecache.getline("/no/such/folder/another_cell.py", 1) == "def f():\n"
    assert len(client.asked) == 1
