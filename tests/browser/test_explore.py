"""Exploring data that is elsewhere: a slider that a person moves, and the picture that follows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXPLORE = Path(__file__).parents[2] / "notebooks" / "explore.ipynb"

# Starting a server, a browser and a kernel, and running a whole notebook, on a busy machine.
pytestmark = pytest.mark.timeout(240)

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
    image = cell.locator("img").first
    image.wait_for()
    assert image.evaluate("image => image.naturalWidth") > 300
    cell.locator("pre").filter(has_text="leave at 17:00").wait_for()
    before = image.get_attribute("src")
    notebook.picture("explore-before")
    image.evaluate(IMAGES)

    cell.get_by_role("slider").first.focus()
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    cell.locator("pre").filter(has_text="leave at 12:00").wait_for()
    page.wait_for_function("before => window.seen.length && window.seen.at(-1) !== before", arg=before)
    assert image.evaluate("image => image.complete && image.naturalWidth") > 300
    assert page.evaluate("window.gone") == 0
    notebook.picture("explore-after")
    notebook.picture_in_the_dark("explore-dark")

    other = page.locator(".jp-CodeCell").filter(has_text="def compare").first
    other.locator("select").first.select_option("origin")
    other.locator("img").first.wait_for()
    assert notebook.errors() == []
    notebook.picture("explore", whole=True)
