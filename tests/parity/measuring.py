"""Measures notebooks, and reports how many of their cells are the same remotely."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .comparing import Comparison, compare
from .running import Way, plain, run, sources_of

__all__ = ["CellReport", "NotebookReport", "as_json", "as_text", "measure", "notebooks_in"]

_PACKAGES = ("rpc_magic", "ipython", "ipykernel", "ipyparallel", "dill", "numpy", "pandas")


@dataclass(frozen=True)
class CellReport:
    """How one cell compares; `number` counts the notebook's code cells from 1."""

    number: int
    source: str
    comparison: Comparison


@dataclass(frozen=True)
class NotebookReport:
    """How a notebook's cells compare, run one way.

    Attributes:
        notebook: its name.
        way: how it was run.
        cells: its code cells.
    """

    notebook: str
    way: str
    cells: tuple[CellReport, ...]

    def having(self, status: str) -> list[CellReport]:
        """Return the cells of a status."""
        return [cell for cell in self.cells if cell.comparison.status == status]

    @property
    def counts(self) -> tuple[int, int]:
        """How many cells are equal, and how many could be compared."""
        equal = len(self.having("equal"))
        return equal, equal + len(self.having("differs"))


def notebooks_in(paths: Iterable[Path]) -> list[Path]:
    """Return the notebooks that paths name: files, or folders with all that is below them."""
    found: list[Path] = []
    for path in paths:
        below = sorted(path.rglob("*.ipynb")) if path.is_dir() else [path]
        found += [one for one in below if ".ipynb_checkpoints" not in one.parts]
    return found


def measure(
    notebook: Path, ways: Iterable[Way], *, timeout: float = 120, with_files: bool = True
) -> list[NotebookReport]:
    """Run a notebook plainly twice and once in each way, and compare.

    Args:
        notebook: its file.
        ways: how else it is run.
        timeout: seconds for one cell.
        with_files: the files beside the notebook are copied to where it runs.
    """
    sources = sources_of(notebook)
    files = notebook.parent if with_files else None
    first, second = (run(sources, plain(), files, timeout=timeout) for _ in range(2))
    reports = []
    for way in ways:
        there = run(sources, way, files, timeout=timeout)
        cells = zip(sources, first, second, there, strict=True)
        compared = [
            CellReport(number, source, compare(*outputs))
            for number, (source, *outputs) in enumerate(cells, 1)
        ]
        reports.append(NotebookReport(notebook.stem, way.name, tuple(compared)))
    return reports


def versions() -> dict[str, str]:
    """Return the versions of what matters, as far as it is installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def as_json(reports: list[NotebookReport]) -> dict[str, Any]:
    """Return everything as data for JSON."""
    return {
        "versions": versions(),
        "notebooks": [
            {
                "notebook": report.notebook,
                "way": report.way,
                "equal": report.counts[0],
                "compared": report.counts[1],
                "cells": [
                    {
                        "number": cell.number,
                        "status": cell.comparison.status,
                        "source": cell.source,
                        **asdict(cell.comparison),
                    }
                    for cell in report.cells
                ],
            }
            for report in reports
        ],
    }


def as_text(reports: list[NotebookReport], *, width: int = 400) -> str:
    """Return a table, and what differs, each side cut at `width` characters."""
    lines = []
    for report in reports:
        for cell in report.having("differs"):
            lines.append(f"=== {report.notebook} [{report.way}] cell {cell.number}\n{_indented(cell.source)}")
            for difference in cell.comparison.differences:
                lines.append(f"--- {difference.part}")
                lines.append(f"plain:  {str(difference.plain)[:width]}")
                lines.append(f"remote: {str(difference.remote)[:width]}")
    lines.append(", ".join(f"{name} {version}" for name, version in versions().items()))
    lines.append(f"{'notebook':40} {'way':20} equal  compared  excluded")
    for report in reports:
        equal, compared = report.counts
        left = len(report.having("excluded"))
        lines.append(f"{report.notebook:40} {report.way:20} {equal:5}  {compared:8}  {left:8}")
    for way in dict.fromkeys(report.way for report in reports):
        counts = [report.counts for report in reports if report.way == way]
        equal, compared = (sum(column) for column in zip(*counts, strict=True))
        share = f"{equal / compared:.1%}" if compared else "nothing"
        lines.append(f"{'total':40} {way:20} {equal:5}  {compared:8}  {share}")
    return "\n".join(lines)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
