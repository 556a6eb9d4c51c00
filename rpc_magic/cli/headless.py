"""A notebook run without a screen: a progress line a cell, and a page at the end, also when a cell failed."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbconvert import HTMLExporter

__all__ = ["execute"]

_WIDTH = 60
"""Characters of a cell that its progress line shows."""


def execute(notebook: Path, page: Path) -> int:
    """Run a notebook to its end or its first error.

    Args:
        notebook: it runs in its own folder; the file is not changed.
        page: where the HTML page is written, with outputs and plots.

    Returns:
        The exit status: 1 when a cell failed.
    """
    content = nbformat.read(notebook, as_version=4)
    try:
        is_well = _run_cells(content, notebook)
    finally:
        exporter = HTMLExporter(template_name="lab", embed_images=True)
        body, _ = exporter.from_notebook_node(content, {"metadata": {"name": notebook.stem}})
        page.write_text(body, "utf-8")
        print(f"The page is {page}", flush=True)
    return 0 if is_well else 1


def _run_cells(content: nbformat.NotebookNode, notebook: Path) -> bool:
    resources = {"metadata": {"path": str(notebook.parent)}}
    client = NotebookClient(
        content,
        timeout=None,
        kernel_name="python3",
        resources=resources,
        extra_arguments=[
            "--log-level=ERROR"
        ],  # its warnings are about Jupyter's own connection, on loopback here
    )
    code = [index for index, cell in enumerate(content.cells) if cell.cell_type == "code"]
    with client.setup_kernel():
        for number, index in enumerate(code, 1):
            cell = content.cells[index]
            print(f"[{number}/{len(code)}] {_title(cell.source)} ... ", end="", flush=True)
            start = time.monotonic()
            try:
                client.execute_cell(cell, index)
            except (CellExecutionError, DeadKernelError) as error:
                print("failed", flush=True)
                print(f"rpc-magic: cell {number} failed: {_reason(error)}", file=sys.stderr)
                return False
            print(f"{time.monotonic() - start:.1f} s", flush=True)
    return True


def _title(source: str) -> str:
    """Return the first line of a cell; of a cell magic also the first line of what it runs."""
    lines = [line.strip() for line in source.splitlines() if line.strip()] or [""]
    return " ".join(lines[: 2 if lines[0].startswith("%%") else 1])[:_WIDTH]


def _reason(error: CellExecutionError | DeadKernelError) -> str:
    if isinstance(error, CellExecutionError):
        return f"{error.ename}: {error.evalue}"
    return "its kernel has died"
