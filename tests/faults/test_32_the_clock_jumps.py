"""Row 32: the clock jumps a day either way: nothing expires, nothing storms."""

from __future__ import annotations

import ast
from pathlib import Path

import rpc_magic

WALL = {"time", "time_ns", "localtime", "gmtime", "now", "utcnow", "today"}
KEPT = {"runtime/tokens.py"}
"""How long a replaced token is good is kept in a file, beyond the end of a server and of its machine; a server reads it
when it starts and when the token is replaced, and then counts seconds (`server/tokens.py`)."""


def test_no_time_of_day() -> None:
    """Nothing that waits, expires or is repeated asks for the time of day, so that a jump of it means nothing.

    Setting the machine's clock needs privileges, so it is shown by the text of the program.
    """
    root = Path(rpc_magic.__file__).parent
    for room in ("client", "server", "transport", "wire", "runtime"):
        paths = [path for path in (root / room).glob("*.py") if f"{room}/{path.name}" not in KEPT]
        assert paths
        for path in paths:
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    used = (node.value.id, node.attr)
                    assert used[0] not in {"time", "datetime"} or used[1] not in WALL, f"{path.name}: {used}"
