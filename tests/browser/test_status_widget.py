"""The status widget as a person meets it: its line, its tabs, its buttons, and what a saved notebook keeps of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from nbconvert import HTMLExporter

from tests.browser.conftest import THEME

# Starting a server, a browser and a kernel, on a busy machine.
pytestmark = pytest.mark.timeout(240)

CONNECT = "%load_ext rpc_magic\n%rpc_connect"
HEARS_WHILE_BUSY = int(version("ipykernel").split(".")[0]) >= 7
SUPERVISOR = "print(get_ipython()._rpc_magic_extension.registry.get(None).connection.info().supervisor_pid)"
HOLDS = """text => window.jupyterapp.shell.currentWidget.content.widgets[0].model.outputs.toJSON()
    .some(output => output.data?.['text/plain']?.includes(text))"""
NARROW = {"width": 600, "height": 1000}
GREEN, AMBER, RED = "rgb(46, 158, 79)", "rgb(217, 154, 0)", "rgb(214, 69, 69)"
SHINES = """colour => getComputedStyle(document.querySelector('.rpc-magic-line span[aria-hidden]')).color === colour"""
CHOSEN = "list => list.selectedOptions.length === 1"
FITS = "box => box.scrollWidth <= box.clientWidth + 1"


class StatusBox:
    """The widget on a page."""

    def __init__(self, notebook: Any) -> None:
        self.box = notebook.page.locator(".rpc-magic-status").first
        self.line = self.box.locator(".rpc-magic-line").first

    def wait_for(self, text: str) -> None:
        """Wait until the line shows a text."""
        self.line.filter(has_text=text).wait_for()

    def wait_for_light(self, colour: str) -> None:
        """Wait until the light has a colour. Each change of the line puts another light there."""
        self.line.page.wait_for_function(SHINES, arg=colour)

    def button(self, name: str) -> Any:
        """Return a button by what is on it."""
        return self.box.get_by_role("button", name=name)

    def by_keyboard(self, name: str, until: Any = None) -> None:
        """Go from the list that is seen to a button with Tab, and press it, as often as it takes to choose a line."""
        page = self.box.page
        self.box.locator("select:visible").focus()
        while not self.button(name).evaluate("button => button === document.activeElement"):
            page.keyboard.press("Tab")
        page.keyboard.press("Space")
        while until is not None:
            page.wait_for_function(CHOSEN, arg=self.box.locator("select:visible").element_handle())
            if until.evaluate("option => option.selected"):
                return
            page.keyboard.press("Space")

    def open(self, tab: str) -> None:
        """Unfold it and choose a tab."""
        if not self.box.get_by_role("tab", name=tab).is_visible():
            self.button("Details").click()
        self.box.get_by_role("tab", name=tab).click()


def test_line_and_tabs(open_notebook: Callable[..., Any]) -> None:
    """In both themes, on a wide page and one of 600 pixels, line and tabs show what they shall; by keyboard too."""
    notebook = open_notebook(
        [
            CONNECT,
            "%%rpc_call\nimport pandas as pd\ntable = pd.DataFrame({'a': range(10)})\nprint('made', len(table))",
            "text = 'here'",
            "print('it has', len(table), 'rows')",
        ]
    )
    page, status = notebook.page, StatusBox(notebook)
    for number in range(3):
        notebook.run_cell(number)
    status.wait_for("connected")
    notebook.picture("status-folded")

    status.button("Details").click(
        trial=True
    )  # with ipykernel 6 it is off until the last cell is known to have ended
    status.button("Details").focus()
    page.keyboard.press("Space")
    status.box.get_by_role("tab", name="Connection").wait_for()
    status.box.get_by_text("machine").first.wait_for()
    status.box.get_by_text("round trip").first.wait_for()
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        page.evaluate(THEME, theme)
        for tab in ("Connection", "Variables", "Calls"):
            status.open(tab)
            status.box.locator("option:visible, td:visible").first.wait_for()
            for width, size in (("wide", {"width": 1100, "height": 1000}), ("narrow", NARROW)):
                page.set_viewport_size(size)
                if width == "narrow":
                    assert status.box.evaluate(FITS), tab
                notebook.picture(f"status-{tab.lower()}-{theme.split()[-1].lower()}-{width}")
            page.set_viewport_size({"width": 1100, "height": 1000})

    status.open("Calls")
    rows = status.box.locator("option:visible")
    rows.first.click()
    assert "done" in rows.first.inner_text()
    status.button("Show output again").click()
    status.box.get_by_text("made 10").wait_for()

    status.open("Variables")
    row = status.box.locator("option").filter(has_text="table")
    assert row.inner_text().split()[:5] == ["table", "there", "DataFrame", "212", "B"]
    status.by_keyboard("Down", until=row)
    status.by_keyboard("Fetch")
    status.box.locator("option").filter(has_text="table").filter(has_text="both").wait_for(state="attached")
    notebook.picture("status-fetched")
    notebook.run_cell(3)
    notebook.wait_for_text(3, "it has 10 rows")
    assert notebook.errors() == []


def test_stop_while_a_cell_runs(open_notebook: Callable[..., Any]) -> None:
    """With ipykernel 7, Stop in the widget ends a blocking cell; with 6 the row says where to press."""
    notebook = open_notebook(
        [
            CONNECT,
            "%%rpc_call\nimport time\nkept = 41\nprint('now', 'asleep')\ntime.sleep(600)",
            "%rpc_call kept + 1",
        ]
    )
    status = StatusBox(notebook)
    notebook.run_cell(0)
    status.wait_for("connected")
    notebook.run_cell(1)
    notebook.wait_for_text(1, "now asleep")
    status.wait_for("busy")
    if HEARS_WHILE_BUSY:
        status.button("Stop").click()
    else:
        status.wait_for("use ■ in the toolbar")
        notebook.page.locator(".rpc-magic-status button:disabled").filter(has_text="Stop").wait_for()
        notebook.picture("status-busy-6")
        notebook.stop()
    notebook.wait_for_text(1, "KeyboardInterrupt")
    status.wait_for("connected")
    notebook.picture("status-stopped")
    notebook.run_cell(2)
    notebook.wait_for_text(2, "42")


def test_the_end_of_a_server_is_seen(open_notebook: Callable[..., Any]) -> None:
    """A killed server turns the light red; connected again it is green."""
    notebook = open_notebook(
        [
            CONNECT,
            SUPERVISOR,
            "%rpc_connect",
        ]
    )
    status = StatusBox(notebook)
    notebook.run_cell(0)
    status.wait_for("connected")
    status.wait_for_light(GREEN)
    notebook.run_cell(1)
    notebook.output(1).first.wait_for()
    os.kill(int(notebook.output(1).first.inner_text()), signal.SIGKILL)
    status.wait_for("lost")
    status.wait_for_light(RED)
    notebook.page.wait_for_function(HOLDS, arg="local: lost")
    notebook.picture("status-lost")
    notebook.run_cell(2)
    back = notebook.page.locator(".rpc-magic-status .rpc-magic-line").nth(1)
    back.filter(has_text="connected").wait_for()
    notebook.picture("status-back")


class Served:
    """A server that stays at its port, however often it is started."""

    def __init__(self) -> None:
        self.url = "tcp://127.0.0.1:0"
        self.start()

    def start(self) -> None:
        """Start it; returns when it listens."""
        command = [sys.executable, "-m", "rpc_magic", "serve", "--port", self.url.rpartition(":")[2]]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def end(self, number: int) -> None:
        """End it by a signal."""
        self.process.send_signal(number)
        self.process.communicate()


@pytest.fixture
def served() -> Iterator[Served]:
    """A server of its own."""
    served = Served()
    yield served
    served.end(signal.SIGTERM)


def test_a_killed_server_comes_back(open_notebook: Callable[..., Any], served: Served) -> None:
    """The light turns amber while nobody answers, and green when the server is there again; nothing is lost."""
    notebook = open_notebook(
        [
            f"%load_ext rpc_magic\n%rpc_connect {served.url} --name lab --session kept",
            "%%lab\nkept = 41",
            "%rpc_call kept + 1",
        ]
    )
    status = StatusBox(notebook)
    notebook.run_cell(0)
    notebook.run_cell(1)
    status.wait_for("connected")
    served.end(signal.SIGKILL)
    status.wait_for("reconnecting")
    status.wait_for("attempt ")
    status.wait_for_light(AMBER)
    notebook.picture("status-reconnecting")
    notebook.picture_in_the_dark("status-reconnecting-dark")
    served.start()
    status.wait_for("connected")
    status.wait_for_light(GREEN)
    notebook.run_cell(2)
    notebook.wait_for_text(2, "42")
    notebook.picture("status-back-again")
    assert notebook.errors() == []


def test_a_saved_notebook_shows_the_last_state(open_notebook: Callable[..., Any], tmp_path: Path) -> None:
    """As text, where its widgets have gone with their kernel: in nbconvert's page, with another kernel, without any."""
    notebook = open_notebook(
        [CONNECT, "%%rpc_call --noblock\n6 * 7", "%rpc_disconnect", "%rpc_connect --name other"]
    )
    for number in (0, 1):
        notebook.run_cell(number)
    notebook.wait_for_text(1, "done")
    notebook.wait_for_text(1, "42")
    for number in (2, 3):
        notebook.run_cell(number)
    notebook.wait_for_text(0, "closed · local")
    notebook.wait_for_text(3, "connected · other")
    notebook.page.wait_for_function(HOLDS, arg="local: closed")
    texts = ((0, "local: closed, unix://"), (1, "6 * 7 done on local"), (3, "other: connected, unix://"))
    for number, text in texts:
        assert not notebook.output(number).filter(has_text=text).first.is_visible(), text
    notebook.save()
    html, _ = HTMLExporter().from_filename(str(tmp_path / "work" / "cells.ipynb"))
    assert "local: closed" in html
    assert "other: connected" in html
    assert "Box(" not in html

    for kernel, instead in ((True, "Error displaying widget"), (False, "Loading widget")):
        notebook.reopen(kernel=kernel)
        gone = notebook.page.locator(".jp-OutputArea-output").filter(has_text=instead)
        gone.nth(2).wait_for(state="attached")
        for number, text in texts:
            notebook.wait_for_text(number, text)
        assert not any(one.is_visible() for one in gone.all())
        notebook.picture(f"status-reopened-{'with-a-kernel' if kernel else 'alone'}")
    notebook.picture_in_the_dark("status-reopened-dark")
