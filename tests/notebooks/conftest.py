"""Notebooks run without a screen, and the same notebooks with their remote cells run locally."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def read(name: str) -> nbformat.NotebookNode:
    """Return a notebook of the project."""
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def make_local(content: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the notebook with everything remote taken out of its code; cells that say what varies are emptied."""
    local = copy.deepcopy(content)
    for cell in code_cells(local):
        if "varies" in cell.metadata.get("tags", ()) or cell.source.startswith("%load_ext"):
            cell.source = ""
        cell.source = re.sub(r"\A%%rpc_call.*\n", "", cell.source)
        cell.source = re.sub(r"%rpc_call ", "", cell.source)
        cell.source = re.sub(r"with rpc_magic.connect\(\) as conn:", "if True:", cell.source)
        cell.source = cell.source.replace("conn.map(", "map(")
        assert "rpc_" not in cell.source.replace("import rpc_magic", ""), cell.source
    return local


def code_cells(content: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Return its code cells."""
    return [cell for cell in content.cells if cell.cell_type == "code"]


def text_of(cell: nbformat.NotebookNode) -> str:
    """Return what a cell printed on standard output."""
    return "".join(out.text for out in cell.outputs if out.output_type == "stream" and out.name == "stdout")


def shown_by(cell: nbformat.NotebookNode) -> list[object]:
    """Return what a reader sees of a cell: text and pictures in their order, neighbouring streams as one."""
    shown: list[object] = []
    for out in cell.outputs:
        if out.output_type == "stream":
            if shown and isinstance(shown[-1], str):
                shown[-1] += out.text
            else:
                shown.append(out.text)
        else:
            shown.append((out.output_type, dict(out.data)))
    return shown


@pytest.fixture
def run_notebook(
    tmp_path: Path, time_factor: float
) -> Callable[[nbformat.NotebookNode], nbformat.NotebookNode]:
    """Run a notebook in a folder of its own, and return it with its outputs; an error in a cell is raised."""

    def run(content: nbformat.NotebookNode) -> nbformat.NotebookNode:
        NotebookClient(
            content,
            timeout=120 * time_factor,
            kernel_name="python3",
            resources={"metadata": {"path": str(tmp_path)}},
            extra_arguments=["--log-level=ERROR"],
        ).execute()
        return content

    return run
