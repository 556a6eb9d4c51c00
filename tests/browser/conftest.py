"""A real JupyterLab, or Notebook 7, in a real headless Chromium.

Tests share a server, and those of a file a browser; each has a folder, kernels and a browser profile of its own. What
the page does is driven through JupyterLab's own commands and buttons; every wait is for a condition.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import nbformat
import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",  # which is small in containers
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
]
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"checkForUpdates": False, "fetchNews": "false"},
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
    # Every cell is on the page, also those below the fold.
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none", "scrollPastEnd": False},
}
APPS = {"lab": "doc/workspaces/{}/tree/", "notebook": "notebooks/"}
"""Where an app shows a notebook. A workspace of its own has nothing open that an earlier test has left open."""

READY = """() => {
    const panel = window.jupyterapp?.shell.currentWidget;
    const kernel = panel?.sessionContext?.session?.kernel;
    return kernel?.status === 'idle' && kernel.connectionStatus === 'connected';
}"""
SAVE = "() => window.jupyterapp.commands.execute('docmanager:save')"
END_KERNEL = """async again => {
    const panel = window.jupyterapp.shell.currentWidget;
    await panel.sessionContext.shutdown();
    if (!again) {
        panel.model.setMetadata('kernelspec', {name: 'gone', display_name: 'Gone', language: 'gone'});
        panel.model.setMetadata('language_info', {name: 'gone'});
    }
    await window.jupyterapp.commands.execute('docmanager:save');
}"""
THEME = "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})"
RUN_ALL = "() => window.jupyterapp.commands.execute('notebook:run-all-cells')"
OUTPUTS = """() => window.jupyterapp.shell.currentWidget.content.widgets
    .filter(cell => cell.model.type === 'code').map(cell => cell.model.outputs.toJSON())"""
CALM = """([cell, text, milliseconds]) => {
    const shows = cell.querySelector('.jp-OutputArea')?.innerText.includes(text);
    cell.calmSince = shows ? cell.calmSince ?? performance.now() : undefined;
    return shows && performance.now() - cell.calmSince > milliseconds;
}"""
HEIGHT = """() => {
    const panel = document.querySelector('.jp-WindowedPanel-outer');
    return innerHeight + panel.scrollHeight - panel.clientHeight + 20;
}"""


class Notebook:
    """An open notebook.

    Attributes:
        page: Playwright's page.
        timeout: seconds that a wait may take.
    """

    def __init__(self, page: Any, pictures: Path, timeout: float) -> None:
        self.page, self.timeout, self._pictures = page, timeout, pictures

    def run_all(self) -> None:
        """Run > Run All Cells; returns when the last cell is done."""
        self.page.evaluate(RUN_ALL)

    def run_cell(self, number: int) -> None:
        """Click into a code cell, counted from 0, and press Shift+Enter; does not wait."""
        cell = self.page.locator(".jp-CodeCell").nth(number)
        cell.locator(".jp-InputArea-editor").click()
        self.page.keyboard.press("Shift+Enter")

    def stop(self) -> None:
        """Press the Stop button in the toolbar."""
        self.page.locator("[data-command='notebook:interrupt-kernel']").first.click()

    def output(self, number: int) -> Any:
        """Return the locator of a code cell's outputs."""
        return self.page.locator(".jp-CodeCell").nth(number).locator(".jp-OutputArea-output")

    def wait_for_text(self, number: int, text: str) -> None:
        """Wait until a text is seen among a code cell's outputs."""
        self.output(number).filter(has_text=text, visible=True).first.wait_for()

    def wait_for_calm(self, number: int, text: str, seconds: float) -> None:
        """Wait until a code cell's outputs have shown a text for some time without a break."""
        cell = self.page.locator(".jp-CodeCell").nth(number).element_handle()
        self.page.wait_for_function(CALM, arg=[cell, text, 1000 * seconds])

    def outputs(self) -> list[list[dict[str, Any]]]:
        """Return each code cell's outputs, as they would be saved."""
        return self.page.evaluate(OUTPUTS)

    def errors(self) -> list[str]:
        """Return the errors that cells raised, and the views that the page could not make."""
        raised = [
            f"{out['ename']}: {out['evalue']}"
            for cell in self.outputs()
            for out in cell
            if out["output_type"] == "error"
        ]
        broken = self.page.locator(".jp-OutputArea-output").filter(has_text="Error displaying widget")
        return raised + broken.all_inner_texts()

    def save(self) -> None:
        """Save it."""
        self.page.evaluate(SAVE)

    def reopen(self, *, kernel: bool) -> None:
        """End its kernel, save it and open it again, with a new kernel or without any."""
        self.page.evaluate(END_KERNEL, kernel)
        self.page.reload()
        self.page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
        if kernel:
            self.page.wait_for_function(READY)
        else:  # the page asks, as it does not know the notebook's
            self.page.locator(".jp-Dialog select").first.select_option(label="No Kernel")
            self.page.locator(".jp-Dialog").get_by_role("button", name="Select").click()
            self.page.locator(".jp-Dialog").wait_for(state="detached")

    def picture(self, name: str, *, whole: bool = False) -> Path:
        """Take a screenshot, of the whole notebook if asked; return its path."""
        size = self.page.viewport_size
        if whole:
            self.page.set_viewport_size({**size, "height": self.page.evaluate(HEIGHT)})
        self.page.mouse.move(2, 2)
        self.page.evaluate("() => document.fonts.ready.then(() => null)")
        path = self._pictures / f"{name}.png"
        self.page.screenshot(path=path, animations="disabled", caret="hide")
        self.page.set_viewport_size(size)
        return path

    def picture_in_the_dark(self, name: str) -> Path:
        """Take a screenshot in the dark theme on a page of 600 pixels."""
        size = self.page.viewport_size
        self.page.evaluate(THEME, "JupyterLab Dark")
        self.page.set_viewport_size({**size, "width": 600})
        path = self.picture(name)
        self.page.set_viewport_size(size)
        self.page.evaluate(THEME, "JupyterLab Light")
        return path


def _find_browser() -> str:
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        text = "no Chromium is installed (apt-get install chromium, or set CHROMIUM)"
        if os.environ.get("RPC_MAGIC_REQUIRE_BROWSER") == "1":
            pytest.fail(text)
        pytest.skip(text)
    return found


class Jupyter:
    """A Jupyter server, which serves JupyterLab and Notebook 7; its root is the folder of all tests.

    Args:
        root: that folder.
        home: the server's home folder.
        timeout: seconds that it may take to start and to end.
    """

    def __init__(self, root: Path, home: Path, timeout: float) -> None:
        self._root, self._timeout = root, timeout
        config = home / ".jupyter" / "labconfig"
        config.mkdir(parents=True)
        (config / "default_setting_overrides.json").write_text(json.dumps(SETTINGS))
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "JPY_", "XDG_"))}
        environ |= {"HOME": str(home), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"}
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.port=0"]
        command += [f"--ServerApp.root_dir={root}", "--LabApp.news_url=None"]
        command += [f"--{app}.expose_app_in_browser=True" for app in ("LabApp", "JupyterNotebookApp")]
        command += ["--LabApp.extension_manager=readonly"]
        with (home / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, env=environ, cwd=root, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._where = _find_server(self._process, home, timeout)
        except BaseException:
            self.close()
            raise

    def url(self, path: str) -> str:
        """Return the URL of a page or of an answer, with the token."""
        return f"http://127.0.0.1:{self._where['port']}/{path}?token={self._where['token']}"

    def page_of(self, path: Path, app: str) -> str:
        """Return the URL under which an app shows a notebook and nothing else."""
        return self.url(APPS[app].format(path.parent.parent.name) + str(path.relative_to(self._root)))

    def end_kernels(self, folder: Path) -> None:
        """End the kernels of the notebooks in a folder."""
        inside = str(folder.relative_to(self._root))
        opener = build_opener(ProxyHandler({}))
        for session in json.load(opener.open(self.url("api/sessions"), timeout=self._timeout)):
            if session["path"].startswith(inside):
                where = Request(self.url(f"api/sessions/{session['id']}"), method="DELETE")
                with contextlib.suppress(HTTPError):  # it has ended meanwhile
                    opener.open(where, timeout=self._timeout).close()

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(self._timeout)


def _find_server(process: subprocess.Popen[bytes], home: Path, timeout: float) -> dict[str, Any]:
    """Wait until the server has written where it listens, and its token."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and process.poll() is None:
        for path in home.rglob("jpserver-*.json"):
            try:
                found = json.loads(path.read_text())
                # The file is written a moment before the server listens.
                socket.create_connection(("127.0.0.1", found["port"]), timeout).close()
            except (ValueError, ConnectionRefusedError):
                continue
            return found
        time.sleep(0.05)
    raise AssertionError("Jupyter's server did not come up:\n" + (home / "server.log").read_text())


def _keep_inside(route: Any) -> None:
    """Let the page talk to this machine only."""
    is_inside = route.request.url.startswith(("http://127.0.0.1", "http://localhost", "data:", "blob:"))
    (route.continue_ if is_inside else route.abort)()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where screenshots are written: $RPC_MAGIC_SCREENSHOTS, or the test's own folder."""
    folder = Path(os.environ.get("RPC_MAGIC_SCREENSHOTS") or tmp_path / "screenshots").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory, time_factor: float) -> Iterator[Jupyter]:
    """The server of all browser tests of this process."""
    _find_browser()
    jupyter = Jupyter(tmp_path_factory.getbasetemp(), tmp_path_factory.mktemp("home"), 100 * time_factor)
    yield jupyter
    jupyter.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser for the tests of a file. Not for more: while it is there, asyncio thinks that its loop runs."""
    path = _find_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS, chromium_sandbox=False)
        yield browser
        browser.close()


@pytest.fixture
def open_notebook(
    tmp_path: Path,
    pictures: Path,
    time_factor: float,
    jupyter: Jupyter,
    browser: Any,
    request: pytest.FixtureRequest,
) -> Iterator[Callable[..., Notebook]]:
    """Open a notebook: ``open_notebook(PATH or list of cells, app="lab")``. One of a test is open at a time."""
    timeout = 30 * time_factor
    folder = tmp_path / "work"
    folder.mkdir()
    page = browser.new_page(viewport={"width": 1100, "height": 1000})
    page.set_default_timeout(timeout * 1000)
    page.route("**/*", _keep_inside)

    def open_one(source: Path | list[str], app: str = "lab") -> Notebook:
        path = folder / (source.name if isinstance(source, Path) else "cells.ipynb")
        if isinstance(source, list):
            _write_cells(source, path)
        elif source != path:
            shutil.copy(source, path)
        page.goto(jupyter.page_of(path, app))
        page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
        page.locator("#jupyterlab-splash").wait_for(state="detached")
        page.wait_for_function(READY)
        return Notebook(page, pictures, timeout)

    yield open_one
    page.screenshot(path=pictures / f"{request.node.name}-end.png")
    page.context.close()
    jupyter.end_kernels(folder)


def _write_cells(cells: list[str], path: Path) -> None:
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    content = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata={"kernelspec": kernel}
    )
    nbformat.write(content, path)
