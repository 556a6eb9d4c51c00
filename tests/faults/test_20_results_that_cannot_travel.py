"""Row 20: a result that cannot be pickled, or pickles and cannot be unpickled: named, kept, over on both sides."""

from __future__ import annotations

import pytest
from checks import Server, unharmed

import rpc_magic
from rpc_magic import errors

POISON = """
def fail(): raise RuntimeError("not here")
class Poison:
    def __reduce__(self): return fail, ()
class Picky:
    def __setstate__(self, state): raise ValueError("no state")
def leave(): raise SystemExit(3)
class Leaving:
    def __reduce__(self): return leave, ()
poison, picky, leaving = Poison(), Picky(), Leaving()
picky.x = 1
deep = {"a": [1, (i for i in "ab")]}
"""


class Unbuilt:
    """Is built here by a function of C's that refuses."""

    def __reduce__(self) -> object:
        return int, ("no number",)


def test_results(server: Server) -> None:
    """The error names type and path, the value stays in the session, and the next call works."""
    with unharmed(server), rpc_magic.connect(server.url) as conn:
        conn.run(POISON)
        with pytest.raises(errors.TransferError, match=r"\['a'\]\[1\].*generator"):
            conn.pull("deep")
        for name, kind, said in (
            ("poison", "fail", "RuntimeError: not here"),
            ("picky", "Picky", "ValueError: no state"),
            ("leaving", "leave", "SystemExit: 3"),
        ):
            with pytest.raises(
                errors.TransferError, match=rf"{name} \({kind}\) cannot travel.*{said}"
            ) as caught:
                conn.pull(name)
            assert isinstance(caught.value.__cause__, (RuntimeError, ValueError, SystemExit))
            with pytest.raises(errors.TransferError, match=rf"\({kind}\) cannot travel.*{said}"):
                conn.run("pass", outputs=[name])
            assert isinstance(conn.run(name).value, rpc_magic.RemoteValue)
        with pytest.raises(errors.TransferError, match=r"the value \(an object in it\).*ValueError: invalid"):
            conn.call(Unbuilt)
        assert conn.run("(type(poison).__name__, len(deep))").value == ("Poison", 1)
        with pytest.raises(errors.TransferError, match="generator"):
            conn.call(lambda: (i for i in "ab"))
        assert conn.info().state == "idle"
        assert conn.call(abs, -1) == 1
