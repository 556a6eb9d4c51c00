"""Versions of libraries: told once, compared once, a line where they differ much."""

from __future__ import annotations

import sys
from importlib import metadata
from types import SimpleNamespace

import pytest

from rpc_magic.runtime.versions import Libraries, own_versions, version_note, version_of


def test_what_is_told_at_connect():
    """Python, rpc_magic and dill are always among it."""
    versions = own_versions()
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert versions["dill"] == metadata.version("dill")
    assert "rpc_magic" in versions


@pytest.mark.parametrize(
    ("client", "session", "differs"),
    [("2.4.6", "2.5.0", False), ("2.0", "1.26.4", True), ("0.4.1", "0.4.9", False), ("0.4", "0.5.1", True),
     ("1.0", "", False), ("", "2.0", False), ("10.1", "1.1", True), ("2", "2.1rc1", False)],
)  # fmt: skip
def test_a_differing_major_version(client, session, differs):
    """Before 1.0 the second number counts; what is not known differs from nothing. The line says both versions."""
    note = version_note("lib", client, session)
    assert bool(note) is differs
    if note:
        assert client in note
        assert session in note
        assert f"%rpc_pip install lib=={client}" in note


def test_versions_by_the_name_of_the_import(monkeypatch):
    """By the package's record, by the module, and by the record of a package of another name."""
    assert version_of("msgspec") == metadata.version("msgspec")
    monkeypatch.setitem(sys.modules, "odd_library", SimpleNamespace(__version__="3.1"))
    assert version_of("odd_library") == "3.1"
    assert version_of("dateutil") == metadata.version("python-dateutil")
    assert version_of("no_such_library") == ""


def test_each_library_is_told_once():
    """Python's own modules, ours and the user's have nothing to tell."""
    libraries = Libraries()
    libraries.note({"msgspec._core", "json.decoder", "rpc_magic.serial", "__main__", "no_such_library"})
    assert libraries.take() == {"msgspec": metadata.version("msgspec")}
    libraries.note({"msgspec", "json"})
    assert libraries.take() == {}


def test_what_was_heard_is_not_told():
    """A library is compared once for a connection, whoever tells it first."""
    libraries = Libraries()
    own = metadata.version("msgspec")
    assert list(libraries.compare({"msgspec": "99.0"})) == [("msgspec", own, "99.0")]
    assert list(libraries.compare({"msgspec": "98.0"})) == []
    libraries.note({"msgspec"})
    assert libraries.take() == {}
