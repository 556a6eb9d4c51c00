"""What a person sees of values that are elsewhere: completion, help, the bar of a long fetch, a kept table."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

# Starting a server, a browser and a kernel, on a busy machine.
pytestmark = pytest.mark.timeout(240)

MAKE = """%%rpc_call
import os, numpy as np, pandas as pd
df = pd.DataFrame({'alpha': np.arange(1000), 'beta': 'text'})
big = np.zeros(10_000_000)
os.getpid()"""
KEPT = "import pandas, rpc_magic\nrpc_magic.connect().put(pandas.DataFrame({'kept': range(3)}))"


def test_a_value_that_is_elsewhere(open_notebook: Callable[..., Any]) -> None:
    """Tab, Shift-Tab and ? on it are answered while it stays there; a fetch that takes long has a bar."""
    notebook = open_notebook(
        ["%load_ext rpc_magic\n%rpc_connect --no-widget", MAKE, "df.", "df?", "big.nbytes", KEPT]
    )
    page = notebook.page
    notebook.run_cell(0)
    notebook.run_cell(1)
    page.wait_for_function("() => /^\\d+$/.test(document.querySelectorAll('.jp-CodeCell')[1].querySelector("
                           "'.jp-OutputArea-executeResult .jp-OutputArea-output')?.innerText.trim())")  # fmt: skip
    worker = int(notebook.output(1).last.inner_text())

    editor = page.locator(".jp-CodeCell").nth(2).locator(".jp-InputArea-editor")
    editor.click()
    page.keyboard.press("End")
    page.keyboard.type("gro")
    page.keyboard.press("Tab")
    page.locator(".jp-CodeCell").nth(2).filter(has_text="df.groupby").or_(
        page.locator(".jp-Completer").filter(has_text="groupby")
    ).first.wait_for()
    notebook.picture("lazy-completion")
    if page.locator(".jp-Completer").is_visible():
        page.keyboard.press("Enter")
    page.keyboard.press("Shift+Tab")
    page.locator(".jp-Tooltip").filter(has_text="Group DataFrame").wait_for()
    notebook.picture("lazy-tooltip")
    page.keyboard.press("Escape")

    notebook.run_cell(3)
    notebook.wait_for_text(3, "alpha")
    notebook.picture("lazy-help")

    os.kill(worker, signal.SIGSTOP)  # as a network that stalls
    try:
        notebook.run_cell(4)
        notebook.wait_for_text(4, "fetching big from local")
        notebook.picture("lazy-bar")
    finally:
        os.kill(worker, signal.SIGCONT)
    notebook.wait_for_text(4, "80000000")
    page.get_by_text("fetching big from local").wait_for(state="hidden")
    notebook.picture("lazy-fetched")

    notebook.run_cell(5)
    notebook.wait_for_text(5, "kept")
    assert notebook.output(5).locator("table").count() == 1
    notebook.picture("lazy-kept", whole=True)
    assert notebook.errors() == []
