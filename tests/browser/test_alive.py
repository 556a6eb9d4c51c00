"""What a person sees of work that runs elsewhere: Stop, prompts, background cells, floods."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

# Starting a server, a browser and a kernel, on a busy machine.
pytestmark = pytest.mark.timeout(600)

CONNECT = "%load_ext rpc_magic\n%rpc_connect --no-widget"
STOPPED = "%%rpc_call\nimport time\nkept = 42\nprint('now asleep', flush=True)\ntime.sleep(600)"
DEAF = (
    "%%rpc_call\nimport time\nprint('now deaf', flush=True)\n"
    "while True:\n    try: time.sleep(600)\n    except KeyboardInterrupt: pass"
)

SHOW_MARK = """output => {
    const texts = document.createTreeWalker(output, NodeFilter.SHOW_TEXT);
    while (texts.nextNode() && !texts.currentNode.data.includes(' left out'));
    const range = document.createRange(), at = texts.currentNode.data.indexOf(' left out');
    range.setStart(texts.currentNode, at); range.setEnd(texts.currentNode, at + 7);
    output.closest('.jp-WindowedPanel-outer').scrollBy(0, range.getBoundingClientRect().top - innerHeight / 2);
}"""


def test_stop_and_a_second_stop(open_notebook: Callable[..., Any]) -> None:
    """Stop interrupts a long cell; of deaf code the user is told, and a second Stop ends its session."""
    notebook = open_notebook([CONNECT, STOPPED, "%rpc_call kept", DEAF, "%rpc_status", "%rpc_restart"])
    notebook.run_cell(0)
    notebook.run_cell(1)
    notebook.wait_for_text(1, "now asleep")
    notebook.stop()
    notebook.wait_for_text(1, "KeyboardInterrupt")
    notebook.picture("alive-stopped")
    notebook.run_cell(2)
    notebook.wait_for_text(2, "42")
    notebook.run_cell(3)
    notebook.wait_for_text(3, "now deaf")
    notebook.stop()
    notebook.wait_for_text(3, "does not react to Stop")
    notebook.picture("alive-deaf")
    notebook.stop()
    notebook.wait_for_text(3, "KeyboardInterrupt")
    notebook.run_cell(4)
    notebook.wait_for_text(4, "died")
    notebook.run_cell(5)
    notebook.wait_for_text(5, "restarted")
    notebook.picture("alive-ended", whole=True)
    assert notebook.errors() == ["KeyboardInterrupt: ", "KeyboardInterrupt: "]


def test_prompts(open_notebook: Callable[..., Any]) -> None:
    """input(), getpass() and the debugger of a remote cell have a field on the page; that of a password hides it."""
    notebook = open_notebook(
        [
            CONNECT,
            "%%rpc_call\nfrom getpass import getpass\nname = input('Who is there? ')\nname, len(getpass('Word: '))",
            "%%rpc_call\nd = 0\n1 / d",
            "%rpc_debug",
        ]
    )
    notebook.run_cell(0)
    notebook.run_cell(1)
    _answer(notebook, "Who is there?", "ann", picture="alive-input")
    assert _answer(notebook, "Word:", "secret") == "password"
    notebook.wait_for_text(1, "('ann', 6)")
    assert "secret" not in notebook.page.locator(".jp-CodeCell").nth(1).inner_text()
    notebook.run_cell(2)
    notebook.wait_for_text(2, "ZeroDivisionError")
    notebook.run_cell(3)
    _answer(notebook, "ipdb>", "p d * 2 + 40")
    _answer(notebook, "ipdb>", "q", picture="alive-debugger")
    notebook.wait_for_text(3, "\n40\n")
    assert notebook.errors() == ["ZeroDivisionError: division by zero"]


def _answer(notebook: Any, prompt: str, text: str, *, picture: str = "") -> str:
    """Answer a prompt; return the kind of its field once that has gone."""
    row = (
        notebook.page.locator(".jp-Stdin").filter(has_text=prompt).filter(has=notebook.page.locator("input"))
    )
    field = row.locator("input")
    field.wait_for()
    if picture:
        notebook.picture(picture)
    kind, handle = field.get_attribute("type"), field.element_handle()
    field.fill(text)
    field.press("Enter")
    handle.wait_for_element_state("hidden")
    return kind or "text"


def test_a_background_cell(open_notebook: Callable[..., Any], tmp_path: Any) -> None:
    """It is live under its cell while others run, and ends after the next one; Cancel ends another."""
    go = tmp_path / "go"
    cell = (
        "import os, time\nprint('begun')\nwhile not os.path.exists(go): time.sleep(0.05)\nmade = 6 * 7\nmade"
    )
    notebook = open_notebook(
        [
            f"{CONNECT}\ngo = {str(go)!r}",
            f"%%rpc_call --noblock\n{cell}",
            "print('the next cell')",
            "made",
            "%%rpc_call --noblock\nimport time\nprint('another')\ntime.sleep(600)",
        ]
    )
    for number in range(3):
        notebook.run_cell(number)
    notebook.wait_for_text(2, "the next cell")
    notebook.wait_for_text(1, "begun")
    notebook.wait_for_text(1, "running")
    notebook.picture("alive-background")
    notebook.picture_in_the_dark("alive-background-dark")
    notebook.run_cell(3)
    notebook.wait_for_text(3, "still making it")
    go.touch()
    notebook.wait_for_text(3, "42")
    notebook.wait_for_text(1, "done")
    notebook.wait_for_text(1, "42")
    notebook.run_cell(4)
    notebook.wait_for_text(4, "another")
    notebook.output(4).get_by_role("button", name="Cancel").click()
    notebook.wait_for_text(4, "cancelled")
    notebook.picture("alive-background-ended", whole=True)
    assert notebook.errors() == []
    saved = [out["data"]["text/html"] for out in notebook.outputs()[1] if "text/html" in out.get("data", {})]
    assert len(saved) == 1
    assert "<b>done</b>" in saved[0]


def test_a_flood(open_notebook: Callable[..., Any]) -> None:
    """A million lines leave the page alive: it shows the first and last ones, counts the others, and answers."""
    notebook = open_notebook(
        [CONNECT, "%%rpc_call\nfor n in range(1_000_000): print('line', n)", "print('still', 'alive')"]
    )
    for number in range(3):
        notebook.run_cell(number)
    notebook.wait_for_text(2, "still alive")
    notebook.wait_for_text(1, "line 999999")
    (shown,) = notebook.outputs()[1]
    text = "".join(shown["text"])
    lines = [int(number) for number in re.findall(r"^line (\d+)$", text, re.MULTILINE)]
    assert lines[:10_000] == list(range(10_000))
    assert lines[-1000:] == list(range(999_000, 1_000_000))
    # One mark, unless it took so long that the latest lines were shown meanwhile.
    left_out = [int(count.replace(",", "")) for count in re.findall(r"\[([\d,]+) lines.* left out", text)]
    assert left_out
    assert sum(left_out) + len(lines) == 1_000_000
    notebook.output(1).first.evaluate(SHOW_MARK)
    notebook.picture("alive-flood")
