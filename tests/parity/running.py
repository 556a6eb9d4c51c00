"""Runs a notebook's code cells in a fresh kernel: plainly, with rpc_magic, or with ipyparallel's ``%%px``."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

__all__ = ["LOCAL", "Way", "plain", "px", "remote", "run", "sources_of"]

_RESULT_LABEL = re.compile(r"(?:\x1b\[[\d;]*m)?Out\[0:\d+\]: ?(?:\x1b\[[\d;]*m)?")

LOCAL = "local"
"""Where a cell that stays as it is runs."""


@dataclass(frozen=True)
class Way:
    """How a notebook is run.

    Attributes:
        name: for the report.
        first: text of a cell that is put before the others.
        changed: makes the other cells' text out of the notebook's.
        last: text of a cell that is put behind them.
        cleaned: makes a cell's outputs comparable with those of a plain run.
    """

    name: str
    first: str
    changed: Callable[[list[str]], list[str]]
    last: str = "pass"
    cleaned: Callable[[list[Any]], list[Any]] = list


def plain() -> Way:
    """Return the way that changes nothing; its first cell keeps the cells' numbers the same in all ways."""
    return Way("plain", "pass", list)


def remote(places: tuple[str, ...] = ("one",)) -> Way:
    """Return the way that gives the cells in turn to `places`: names of servers, or `LOCAL`."""
    servers = [place for place in dict.fromkeys(places) if place != LOCAL]
    first = "\n".join(
        ["%load_ext rpc_magic", *(f"%rpc_connect --no-widget --name {name}" for name in servers)]
    )

    def changed(sources: list[str]) -> list[str]:
        return [
            source if place == LOCAL or not source.strip() else f"%%rpc_call -s {place}\n{source}"
            for source, place in zip(sources, cycle(places), strict=False)
        ]

    return Way(",".join(places), first, changed)


def px() -> Way:
    """Return the way of ipyparallel: one engine on this machine. What it puts before each output is taken off."""
    first = (
        "import ipyparallel as _ipp\n"
        "_cluster = _ipp.Cluster(n=1, log_level=40)\n"
        "_client = _cluster.start_and_connect_sync(activate=True)\n"
        "_view = _client[0]\n"
        "_view.block = True\n"
        "_view.activate()"
    )

    def changed(sources: list[str]) -> list[str]:
        return [f"%%px\n{source}" if source.strip() else source for source in sources]

    return Way("%%px", first, changed, "_cluster.stop_cluster_sync()", _without_labels)


def _without_labels(outputs: list[Any]) -> list[Any]:
    """Return outputs of ``%%px`` as a plain cell has them: without the engine's labels, which the text is full of."""
    return [_without_label(output) for output in outputs if _plain_text(output).strip() != "[output:0]"]


def _plain_text(output: Any) -> str:
    return str(output.get("text") or output.get("data", {}).get("text/plain", ""))


def _without_label(output: Any) -> Any:
    if output["output_type"] == "error":
        name, _, value = output["evalue"].removeprefix("[0:execute] ").partition(": ")
        return {**output, "ename": name, "evalue": value}
    label, _, text = _plain_text(output).partition(" ")
    if label in {"[stdout:0]", "[stderr:0]"}:
        return {"output_type": "stream", "name": label[1:7], "text": text}
    if _RESULT_LABEL.match(_plain_text(output)):
        data = {**output["data"], "text/plain": _RESULT_LABEL.sub("", _plain_text(output)).removeprefix("\n")}
        return {"output_type": "execute_result", "data": data}
    return output


def sources_of(path: Path) -> list[str]:
    """Return the text of a notebook's code cells."""
    content = nbformat.read(path, as_version=4)
    return [cell.source for cell in content.cells if cell.cell_type == "code"]


class _Client(NotebookClient):
    """A client that does not play the page for `Output` widgets: what they catch is shown by the cell.

    nbclient answers the kernel for them while it waits for the cell's reply, on the same socket, and once in some
    twenty runs, plain ones too, then never sees the reply.
    """

    def on_comm_open_jupyter_widget(self, msg: Any) -> None:
        """Take a widget for one that has nothing to catch."""


def run(sources: list[str], way: Way, files: Path | None = None, *, timeout: float = 120) -> list[list[Any]]:
    """Run cells in a fresh kernel, errors included.

    Args:
        sources: the cells' text.
        way: how they are run.
        files: a folder whose files, other than notebooks, the cells find in theirs.
        timeout: seconds for one cell, which is then interrupted.

    Returns:
        The outputs of each cell.

    Raises:
        RuntimeError: the first cell, which connects, failed.
    """
    cells = [way.first, *way.changed(sources), way.last]
    content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    with _folder(files) as folder, _clean_environment():
        _Client(
            content,
            timeout=timeout,
            interrupt_on_timeout=True,
            allow_errors=True,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
            extra_arguments=["--log-level=ERROR"],
        ).execute()
    outputs = [cell.outputs for cell in content.cells]
    if any(output["output_type"] == "error" for output in outputs[0]):
        raise RuntimeError(f"the first cell of {way.name} failed: {outputs[0][-1]['evalue']}")
    return [way.cleaned(one) for one in outputs[1:-1]]


@contextmanager
def _folder(files: Path | None) -> Iterator[Path]:
    """Make a folder for a run: the same path every time, since cells show it, with nothing in it of the run before."""
    folder = Path(tempfile.gettempdir()) / f"parity-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    if files is None:
        folder.mkdir()
    else:
        shutil.copytree(
            files, folder, ignore=shutil.ignore_patterns("*.ipynb", ".ipynb_checkpoints", "__pycache__")
        )
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _clean_environment() -> Iterator[None]:
    """Leave the user's IPython profile out."""
    before = os.environ.get("IPYTHONDIR")
    os.environ["IPYTHONDIR"] = str(Path(tempfile.gettempdir()) / f"parity-{os.getpid()}-ipython")
    try:
        yield
    finally:
        shutil.rmtree(os.environ.pop("IPYTHONDIR"), ignore_errors=True)
        if before is not None:
            os.environ["IPYTHONDIR"] = before
