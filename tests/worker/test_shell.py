"""The session's shell: displays, figures, and how packages recognise it."""

from __future__ import annotations

import sys
from itertools import groupby

import pytest


def test_packages_take_it_for_a_notebook(run_cells):
    """tqdm, rich, pandas and ipywidgets see a notebook's kernel."""
    pytest.importorskip("rich")
    reports = run_cells(
        "import sys\n'ipykernel' in sys.modules",
        "(type(get_ipython()).__name__, 'IPKernelApp' in get_ipython().config)",
        "import tqdm.auto, tqdm.notebook\nissubclass(tqdm.auto.tqdm, tqdm.notebook.tqdm_notebook)",
        "import rich\nrich.get_console().is_jupyter",
        "import os\n(os.environ['MPLBACKEND'], os.environ['PAGER'])",
        "from ipykernel.zmqshell import ZMQInteractiveShell\nisinstance(get_ipython(), ZMQInteractiveShell)",
        "from ipykernel.zmqshell import KernelMagics\nKernelMagics.__name__",
        "from pandas.io.formats.console import in_ipython_frontend\nin_ipython_frontend()",
    )
    assert reports.done(1)["value"] == "False"
    assert reports.done(2)["value"] == "('ZMQInteractiveShell', True)"
    assert reports.done(3)["value"] == "True"
    assert reports.done(4)["value"] == "True"
    assert reports.done(5)["value"] == "('module://matplotlib_inline.backend_inline', 'cat')"
    assert reports.done(6)["value"] == "True"
    assert reports.done(7)["value"] == "'KernelMagics'"
    assert reports.done(8)["value"] == "True"


def test_other_environment(run_cells, monkeypatch, tmp_path):
    """The packages of an environment that VIRTUAL_ENV names are not mixed into the session's."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    other = tmp_path / "lib" / version / "site-packages"
    other.mkdir(parents=True)
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path))
    reports = run_cells(f"import sys\n{str(other)!r} in sys.path")
    assert reports.done(1)["value"] == "False"


def test_displays(run_cells):
    """display, updates by id, clear_output, metadata and raw bundles arrive in order with prints."""
    source = """
from IPython.display import display, clear_output, HTML, update_display
print("one")
handle = display(HTML("<b>x</b>"), display_id="d", metadata={"isolated": True})
print("two")
handle.update(HTML("<i>y</i>"))
clear_output(wait=True)
display({"application/json": {"n": 1, "when": None}}, raw=True)
"""
    reports = run_cells(source)
    assert [one["what"] for one in reports.of(1)] == [
        "Stream", "Display", "Stream", "Display", "ClearOutput", "Display", "Done",
    ]  # fmt: skip
    first, second, third = reports.of(1, "Display")
    assert (first["data"]["text/html"], first["update"], first["transient"]) == (
        "<b>x</b>",
        False,
        {"display_id": "d"},
    )
    assert first["metadata"] == {"isolated": True}
    assert (second["data"]["text/html"], second["update"]) == ("<i>y</i>", True)
    assert third["data"] == {"application/json": {"n": 1, "when": None}}
    assert reports.of(1, "ClearOutput")[0]["wait"] is True


def test_bundles_of_any_quality(run_cells):
    """Numbers of numpy, dates, and keys that are no strings become plain data instead of an error."""
    source = """
import datetime, numpy as np
loop = []
loop.append(loop)
display({"application/json": {1: np.float64(2.5), "a": np.arange(2), "d": datetime.date(2020, 1, 2),
         "big": 10**30, "set": {1}, "odd": object, "s": "\\udc00"}}, raw=True)
display({"application/json": loop}, raw=True)
"""
    first, second = run_cells(source).of(1, "Display")
    assert first["data"]["application/json"] == {
        "1": 2.5,
        "a": [0, 1],
        "d": "2020-01-02",
        "big": 1e30,
        "set": [1],
        "odd": "<class 'object'>",
        "s": "\\udc00",
    }
    assert second["what"] == "Display"


def test_figures(run_cells):
    """Each figure is shown once, at the end of its cell or where show() is called, without %matplotlib."""
    pytest.importorskip("matplotlib")
    reports = run_cells(
        "import matplotlib.pyplot as plt\nprint('before')\nplt.plot([1, 2]);\n"
        "plt.figure()\nplt.plot([2, 1])\nprint('after');",
        "plt.plot([1]);\nplt.show()\nprint('after show')",
        "figure, axes = plt.subplots()\naxes.plot([1])\nfigure",
        "figure",
        "%matplotlib inline\nplt.plot([1]);",
        "1",
    )
    kinds = [[kind for kind, _ in groupby(one["what"] for one in reports.of(call))] for call in range(1, 7)]
    assert kinds[0] == ["Stream", "Display", "Done"]
    assert [len(reports.of(call, "Display")) for call in range(1, 7)] == [2, 1, 1, 0, 1, 0]
    assert all("image/png" in one["data"] for one in reports.of(1, "Display"))
    assert kinds[1] == ["Display", "Stream", "Done"]
    assert kinds[2] == [
        "ExecuteResult",
        "Display",
        "Done",
    ]  # as in a kernel: the value, and the cell's figure
    assert "image/png" in reports.done(3)["data"]
    assert "image/png" in reports.done(4)["data"]
    assert kinds[4] == ["Display", "Done"]
    assert kinds[5] == ["ExecuteResult", "Done"]


def test_tables(run_cells):
    """A pandas frame is rendered as an HTML table, with the options set in the session."""
    pytest.importorskip("pandas")
    reports = run_cells(
        "import pandas as pd\nframe = pd.DataFrame({'a': range(100)})\nframe",
        "pd.options.display.max_rows = 4\nframe",
    )
    assert "<table" in reports.done(1)["data"]["text/html"]
    assert reports.done(2)["data"]["text/html"].count("<tr") < reports.done(1)["data"]["text/html"].count(
        "<tr"
    )


def test_formatters(run_cells):
    """Formatters that the user registers, and _repr_mimebundle_ with metadata, take effect here."""
    reports = run_cells(
        "class A: pass\nhtml = get_ipython().display_formatter.formatters['text/html']\n"
        "html.for_type(A, lambda a: '<u>A</u>')\nA()",
        "class B:\n    def _repr_mimebundle_(self, **k): return {'x/y': {'k': 1}}, {'x/y': {'m': 2}}\nB()",
        "class C:\n    def _repr_html_(self): 1/0\nC()",
        "class D:\n    def _ipython_display_(self): print('myself')\nD()",
    )
    assert reports.done(1)["data"]["text/html"] == "<u>A</u>"
    assert (reports.done(2)["data"]["x/y"], reports.done(2)["metadata"]["x/y"]) == ({"k": 1}, {"m": 2})
    assert {one["type_name"] for one in reports.of(3, "ShownError")} == {"ZeroDivisionError"}
    assert "__main__.C" in reports.done(3)["data"]["text/plain"]
    assert reports.text(4) == "myself\n"
    assert reports.done(4)["data"] == {}


def test_no_threads_and_no_history_file(run_cells, tmp_path, monkeypatch):
    """The shell makes no thread but the outputs' own and no history database."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    reports = run_cells("import threading\n[t.name for t in threading.enumerate()]")
    assert reports.done(1)["value"] == "['MainThread', 'rpc_magic output']"
    assert not list(tmp_path.rglob("*.sqlite*"))


def test_home_that_cannot_be_written(run_cells, monkeypatch):
    """A session starts where IPython's folder cannot be made."""
    monkeypatch.setenv("IPYTHONDIR", "/proc/nowhere")
    assert run_cells("1").done(1)["value"] == "1"


def test_gui_is_refused(run_cells):
    """%gui says that there is no screen."""
    assert "no screen" in run_cells("%gui qt").text(1, "stderr")
