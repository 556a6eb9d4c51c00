"""Every cell of ordinary notebooks shows remotely what it shows when it runs plainly."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .comparing import compare, parts_of_cell
from .measuring import as_json, as_text, measure, notebooks_in
from .running import LOCAL, remote

NOTEBOOKS = notebooks_in([Path(__file__).with_name("notebooks")])
TIMEOUT = 60 * float(os.environ.get("RPC_MAGIC_TEST_TIME_FACTOR", "1"))  # seconds

REMOTE = ("one",)
MIXED = ("one", "two", LOCAL)
"""Of three cells in turn, two run on two servers and one here."""
ALSO_MIXED = {"bank_classes", "numpy_heat", "one_notebook_many_cells", "pandas_sales"}
"""Notebooks whose cells share variables, random seeds and options; no generators, widgets or magics."""


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(notebook: Path, tmp_path: Path) -> None:
    """With %%rpc_call on every cell, and with the cells on two servers and here in turn."""
    ways = [REMOTE, MIXED] if notebook.stem in ALSO_MIXED else [REMOTE]
    reports = measure(notebook, [remote(places) for places in ways], timeout=TIMEOUT, with_files=False)
    for report in reports:
        equal, compared = report.counts
        assert equal == compared, as_text([report])
        assert compared >= 0.9 * len(report.cells) > 15


def test_there_are_enough_notebooks() -> None:
    """Ten at least, of many kinds."""
    assert len(NOTEBOOKS) >= 10
    assert {path.stem for path in NOTEBOOKS} > ALSO_MIXED


def stream(text: str, name: str = "stdout") -> dict[str, object]:
    return {"output_type": "stream", "name": name, "text": text}


def result(**data: str) -> dict[str, object]:
    return {"output_type": "execute_result", "data": {key.replace("_", "/"): v for key, v in data.items()}}


def error(value: str, *lines: str) -> dict[str, object]:
    shown = [f"\x1b[32m----> \x1b[39m{number} {line}" for number, line in enumerate(lines, 1)]
    return {"output_type": "error", "ename": "ValueError", "evalue": value, "traceback": shown}


@pytest.mark.parametrize(
    ("plain", "remote", "parts"),
    [
        ([stream("a"), stream("b")], [stream("ab")], []),
        ([stream("a")], [stream("a", "stderr")], ["stdout", "order", "stderr"]),
        ([stream("a"), result(text_plain="1")], [result(text_plain="1"), stream("a")], ["order"]),
        ([result(text_plain="1", text_html="x")], [result(text_plain="1", text_html="y")], ["1 text/html"]),
        ([error("bad", "f()", "raise")], [error("bad", "f()", "g()", "raise")], []),
        ([error("bad", "f()", "raise")], [error("bad", "f()")], ["error"]),
        ([error("bad")], [error("worse")], ["error"]),
        ([], [stream("x", "stderr")], ["stderr"]),
        ([result(text_plain="1")], [], ["1 text/plain", "order"]),
    ],
)
def test_what_differs(plain: list[object], remote: list[object], parts: list[str]) -> None:
    """The measure sees each kind of difference, and none where there is none."""
    compared = compare(plain, plain, remote)
    assert [difference.part for difference in compared.differences] == parts
    assert compared.status == ("differs" if parts else "equal")


def test_what_varies_is_excluded() -> None:
    """A part that two plain runs do not share says nothing; what else the cell shows does."""
    first, second = ([stream(text), result(text_plain="1")] for text in ("at 12:00", "at 12:01"))
    compared = compare(first, second, [stream("at 12:02"), result(text_plain="1")])
    assert (compared.excluded, compared.status) == (("stdout",), "equal")
    assert compare(first, second, [stream("at 12:02"), result(text_plain="2")]).status == "differs"


def test_names_of_cells() -> None:
    """A kernel's process number and the line that the magic adds are no difference."""
    warned = [
        stream(f"/tmp/ipykernel_{pid}/12.py:{line}: UserWarning", "stderr") for pid, line in ((7, 1), (8, 2))
    ]
    assert parts_of_cell(warned[:1]) == parts_of_cell(warned[1:])


def test_a_report(tmp_path: Path) -> None:
    """A folder with a notebook and its data: the report has the cells, and what differs."""
    import nbformat

    sources = ["open('data.txt').read()", "1 + 1", "", "class A: pass\nA() is None"]
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "small.ipynb")
    (tmp_path / "data.txt").write_text("from the file")
    [notebook] = notebooks_in([tmp_path])
    [report] = measure(notebook, [remote(("one", LOCAL))], timeout=TIMEOUT)
    data = as_json([report])["notebooks"][0]
    assert [cell["status"] for cell in data["cells"]] == ["equal", "equal", "equal", "equal"]
    assert (data["way"], data["equal"], data["compared"]) == ("one,local", 4, 4)
    assert "total" in as_text([report])
