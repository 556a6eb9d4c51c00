"""Exploring data that is elsewhere: a slider that a person moves, and the picture that follows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXPLORE = Path(__file__).parents[2] / "notebooks" / "explore.ipynb"

# Starting a server, a browser and a kernel, and running a whole notebook, on a busy machine.
pytestmark = pytest.mark.timeout(240)

DRAW = """@conn.interact(n=(0, 14))
def draw(n):
    import matplotlib.pyplot as plt
    print('n is', n)
    plt.figure(figsize=(4, 2))
    plt.plot(range(n + 1))
    plt.show()"""
HOLDS = """text => window.jupyterapp.shell.currentWidget.content.widgets[1].model.outputs.toJSON()
    .some(output => output.data?.['text/html']?.includes(text))"""
SIZE = "image => [image.naturalWidth, image.naturalHeight]"
IMAGES = """image => {
    window.seen = []; window.gone = 0;
    new MutationObserver(() => window.seen.push(image.src)).observe(image, {attributes: true});
    new MutationObserver(() => image.isConnected || window.gone++).observe(
        image.closest('.jp-OutputArea'), {childList: true, subtree: true});
}"""


def test_the_picture_follows_the_slider(open_notebook: Callable[..., Any]) -> None:
    """Moved by the keyboard, the slider gets other pictures and words, in the same place: it never goes away."""
    notebook = open_notebook(EXPLORE)
    notebook.run_all()
    assert notebook.errors() == []
    page = notebook.page
    cell = page.locator(".jp-CodeCell").filter(has_text="def delays").first
    image = cell.locator("img:visible")
    image.wait_for()
    assert image.evaluate("image => image.naturalWidth") > 300
    cell.locator("pre:visible").filter(has_text="leave at 17:00").wait_for()
    before = image.get_attribute("src")
    notebook.picture("explore-before")
    image = image.element_handle()
    image.evaluate(IMAGES)

    cell.get_by_role("slider").first.focus()
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    cell.locator("pre:visible").filter(has_text="leave at 12:00").wait_for()
    page.wait_for_function("before => window.seen.length && window.seen.at(-1) !== before", arg=before)
    assert image.evaluate("image => image.complete && image.naturalWidth") > 300
    assert page.evaluate("window.gone") == 0
    notebook.picture("explore-after")
    notebook.picture_in_the_dark("explore-dark")

    other = page.locator(".jp-CodeCell").filter(has_text="def compare").first
    other.locator("select").first.select_option("origin")
    other.locator("img:visible").wait_for()
    assert notebook.errors() == []
    notebook.picture("explore", whole=True)


def test_a_saved_notebook_shows_the_last_picture(open_notebook: Callable[..., Any]) -> None:
    """What the slider showed last stands where the controls have gone: with another kernel, and without any."""
    notebook = open_notebook(["import rpc_magic\nconn = rpc_magic.connect()", DRAW])
    page, pictures = notebook.page, notebook.output(1).locator("img:visible")
    notebook.run_all()
    assert notebook.errors() == []
    pictures.wait_for()
    notebook.output(1).get_by_role("slider").first.focus()
    page.keyboard.press("ArrowRight")
    notebook.wait_for_text(1, "n is 8")
    page.wait_for_function(HOLDS, arg="n is 8")
    assert pictures.count() == 1
    size = pictures.evaluate(SIZE)
    notebook.picture("explore-live")

    for kernel, instead in ((True, "Error displaying widget"), (False, "Loading widget")):
        notebook.reopen(kernel=kernel)
        gone = notebook.output(1).filter(has_text=instead)
        gone.wait_for(state="attached")
        for text in ("draw(n=8)", "n is 8"):
            notebook.wait_for_text(1, text)
        assert pictures.count() == 1
        assert pictures.evaluate(SIZE) == size
        assert not gone.is_visible()
        notebook.picture(f"explore-reopened-{'with-a-kernel' if kernel else 'alone'}")
