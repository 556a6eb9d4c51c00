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
poison = Poison()
deep = {"a": [1, (i for i in "ab")]}
"""


def test_results(server: Server) -> None:
    """The error names type and path, the value stays in the session, and the next call works."""
    with unharmed(server), rpc_magic.connect(server.url) as conn:
        conn.run(POISON)
        with pytest.raises(errors.TransferError, match=r"\['a'\]\[1\].*generator"):
            conn.pull("deep")
        with pytest.raises(Exception, match="not here"):
            conn.pull("poison")
        assert conn.run("(type(poison).__name__, len(deep))").value == ("Poison", 1)
        with pytest.raises(errors.TransferError, match="generator"):
            conn.call(lambda: (i for i in "ab"))
        assert conn.info().state == "idle"
        assert conn.call(abs, -1) == 1
