"""What a person sees: the quickstart in JupyterLab, Notebook 7, the Stop button, widgets made there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"

# Starting a server, a browser and a kernel, and running a whole notebook, on a busy machine.
pytestmark = pytest.mark.timeout(240)


def code_cells(path: Path) -> list[str]:
    import nbformat

    return [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_quickstart_in_lab(open_notebook: Callable[..., Any]) -> None:
    """Run All in JupyterLab runs the quickstart without an error; the figure and the status are on the page."""
    notebook = open_notebook(QUICKSTART)
    notebook.run_all()
    assert notebook.errors() == []

    cells = code_cells(QUICKSTART)
    [figure] = [number for number, cell in enumerate(cells) if "plt.show()" in cell]
    image = notebook.output(figure).locator("img, svg").first
    image.scroll_into_view_if_needed()
    box = image.bounding_box()
    assert box["width"] > 300
    assert box["height"] > 100
    assert image.evaluate("image => image.naturalWidth ?? 1") > 0
    notebook.picture("quickstart-figure")

    [connect] = [number for number, cell in enumerate(cells) if cell.startswith("%rpc_connect")]
    status = notebook.output(connect).filter(has_text="connected · local").first
    status.scroll_into_view_if_needed()
    assert status.is_visible()
    notebook.picture("quickstart-status")
    notebook.picture("quickstart", whole=True)


def test_one_page(open_notebook: Callable[..., Any]) -> None:
    """Status, a helper from here, a table and a figure from there, on one page: the README's picture."""
    parts = ("%load_ext", "%rpc_connect", "pd.read_csv", "minutes=15", "by_hour = flights", "plt.show()")
    cells = [cell for part in parts for cell in code_cells(QUICKSTART) if part in cell]
    notebook = open_notebook(["\n".join(cells[:2]), *cells[2:]])
    notebook.run_all()
    assert notebook.errors() == []
    # The status is asked for every two seconds: what it says for longer is not about a cell that has just ended.
    notebook.wait_for_calm(0, "connected · local", seconds=3)
    notebook.picture("one-page", whole=True)


def test_the_core_in_notebook_7(open_notebook: Callable[..., Any]) -> None:
    """Output and value, Stop, a live status, a widget made there, a background cell that is cancelled."""
    notebook = open_notebook(
        [
            "%load_ext rpc_magic\n%rpc_connect",
            "%%rpc_call\nprint('from', 'there')\n6 * 7",
            "%%rpc_call\nimport time\nkept = 41\nprint('now', 'asleep')\ntime.sleep(600)",
            (
                "%%rpc_call\nimport os, ipywidgets\nlabel = ipywidgets.Label('not pressed')\n"
                "button = ipywidgets.Button(description='Press me')\n"
                "button.on_click(lambda _: setattr(label, 'value', f'pressed in {os.getpid()}, {kept + 1}'))\n"
                "display(label)\nbutton"
            ),
            "%rpc_call os.getpid()",
            "%%rpc_call --noblock\nprint('begun')\ntime.sleep(600)",
            "print('the next cell')",
        ],
        app="notebook",
    )
    for number in range(3):
        notebook.run_cell(number)
    notebook.wait_for_text(1, "from there")
    notebook.wait_for_text(1, "42")
    notebook.wait_for_text(2, "now asleep")
    notebook.wait_for_text(0, "busy · local")
    notebook.stop()
    notebook.wait_for_text(2, "KeyboardInterrupt")
    notebook.wait_for_text(0, "connected · local")
    for number in range(3, 7):
        notebook.run_cell(number)
    notebook.wait_for_text(6, "the next cell")
    notebook.wait_for_text(5, "begun")
    notebook.output(5).get_by_role("button", name="Cancel").click()
    notebook.wait_for_text(5, "cancelled")
    worker = notebook.output(4).first.inner_text().strip()
    notebook.output(3).get_by_role("button", name="Press me").click()
    notebook.wait_for_text(3, f"pressed in {worker}, 42")
    assert notebook.errors() == ["KeyboardInterrupt: "]
    notebook.picture("notebook-7", whole=True)
