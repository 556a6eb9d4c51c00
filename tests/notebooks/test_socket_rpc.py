"""The notebook about socket RPC gives what the same functions give when they are called locally."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nbformat
import papermill
import pytest

from .conftest import NOTEBOOKS, code_cells, read, text_of

Run = Callable[[nbformat.NotebookNode], nbformat.NotebookNode]


def values(content: nbformat.NotebookNode) -> dict[str, str]:
    """Return the values that cells with a result show, by the last line of the cell."""
    return {
        cell.source.splitlines()[-1]: out.data["text/plain"]
        for cell in code_cells(content)
        for out in cell.outputs
        if out.output_type == "execute_result"
    }


def check(content: nbformat.NotebookNode) -> None:
    """Compare the notebook's values and words with those of local calls."""
    assert values(content) == {
        'conn.call("add", 2, 3)': repr(2 + 3),
        'conn.functions.add("2", "3")': repr("2" + "3"),
        "len(answer), answer[-3:]": repr((10_000_001, b"xx!")),
        "sum(call.result() for call in calls)": repr(sum(2 * number for number in range(1000))),
        'strict.call("add", [1, 2], [3])': repr([1, 2, 3]),
    }
    words = "\n".join(map(text_of, code_cells(content)))
    for expected in (
        "add(a, b): Add two numbers, or anything else that can be added.",
        "divide(a, b): Divide one number by another.",
        "ZeroDivisionError: division by zero",
        "the server exposes no function 'ad'. Did you mean 'add'?",
        "Bob sees 15",
        "(Cunning) cannot travel",
        "RpcMagicError",
    ):
        assert expected in words
    assert "this runs on the server" not in words


def test_nbclient(run_notebook: Run) -> None:
    """Under nbclient, every cell runs, and its values are those of local calls."""
    check(run_notebook(read("socket_rpc")))


def test_papermill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same under papermill."""
    monkeypatch.chdir(tmp_path)
    papermill.execute_notebook(
        NOTEBOOKS / "socket_rpc.ipynb", tmp_path / "out.ipynb", progress_bar=False, cwd=tmp_path
    )
    check(nbformat.read(tmp_path / "out.ipynb", as_version=4))
