"""Widgets that were made there and live here: what a person does to them is heard there, and seen here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

# Starting a server, a browser and a kernel, on a busy machine.
pytestmark = pytest.mark.timeout(240)

CONNECT = "%load_ext rpc_magic\n%rpc_connect --no-widget"

SLIDER = """%%rpc_call
import os, ipywidgets
from IPython.display import display
slider = ipywidgets.IntSlider(value=3, max=9)
label = ipywidgets.Label('nothing yet')
def moved(change):
    label.value = f"moved to {change['new']} in {os.getpid()}"
slider.observe(moved, 'value')
display(slider, label)"""

INTERACT = """%%rpc_call
@ipywidgets.interact(n=(0, 9))
def square(n=2):
    print('the square is', n * n)
    return n ** 3"""

BAR = """%%rpc_call
from tqdm.notebook import tqdm
for _ in tqdm(range(5), desc='steps'): pass"""

OUTPUT = """%%rpc_call
out = ipywidgets.Output()
button = ipywidgets.Button(description='Print')
def pressed(_):
    with out:
        print('printed there')
button.on_click(pressed)
display(button, out)
with out:
    print('from the cell')"""

ANIMATION = """%%rpc_call
import matplotlib.pyplot as plt
from matplotlib.animation import FuncAnimation
from IPython.display import HTML
figure, axes = plt.subplots(figsize=(3, 2))
[line] = axes.plot([0, 1], [0, 1])
film = FuncAnimation(figure, lambda i: [line.set_ydata([0, i])], frames=3, blit=False)
plt.close(figure)
HTML(film.to_jshtml())"""

ANYWIDGET = """%%rpc_call
import anywidget, traitlets
class Echo(anywidget.AnyWidget):
    _esm = '''
    export default { render({ model, el }) {
        const button = document.createElement('button');
        const show = () => button.textContent =
            'count ' + model.get('count') + ' bytes ' + model.get('data').byteLength;
        button.onclick = () => {
            model.set('count', model.get('count') + 1);
            model.set('data', new DataView(new Uint8Array([1, 2, 3, 4, 5]).buffer));
            model.save_changes();
        };
        model.on('change', show); show(); el.appendChild(button);
    } }'''
    count = traitlets.Int(0).tag(sync=True)
    data = traitlets.Any(b'x' * 1000).tag(sync=True)  # a page's bytes come as a memoryview, as in a kernel
echo = Echo()
heard = ipywidgets.Label('')
def note(change):
    heard.value = f'there: {bytes(change["new"])!r}'
echo.observe(note, 'data')
display(echo, heard)"""


def test_they_live(open_notebook: Callable[..., Any]) -> None:
    """Callbacks, interact, bars, output widgets, an animation, an anywidget with bytes both ways."""
    notebook = open_notebook(
        [CONNECT, SLIDER, INTERACT, BAR, OUTPUT, ANIMATION, ANYWIDGET, "%rpc_call os.getpid()"]
    )
    page = notebook.page
    notebook.run_all()
    assert notebook.errors() == []
    worker = notebook.output(7).first.inner_text().strip()

    notebook.output(1).get_by_role("slider").first.focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    notebook.wait_for_text(1, f"moved to 5 in {worker}")

    notebook.wait_for_text(2, "the square is 4")
    notebook.output(2).get_by_role("slider").first.focus()
    page.keyboard.press("ArrowRight")
    notebook.wait_for_text(2, "the square is 9")
    notebook.wait_for_text(2, "27")

    notebook.wait_for_text(3, "5/5")
    notebook.wait_for_text(4, "from the cell")
    notebook.output(4).get_by_role("button", name="Print").click()
    notebook.wait_for_text(4, "printed there")

    film = notebook.output(5).locator("img").first
    film.scroll_into_view_if_needed()
    page.wait_for_function("image => image.naturalWidth > 100", arg=film.element_handle())

    echo = notebook.output(6).get_by_role("button", name="count 0 bytes 1000")
    echo.click()
    notebook.output(6).get_by_role("button", name="count 1 bytes 5").wait_for()
    notebook.wait_for_text(6, r"there: b'\x01\x02\x03\x04\x05'")
    assert notebook.errors() == []
    notebook.picture("remote-widgets-all", whole=True)


def test_the_end_of_the_session_is_seen(open_notebook: Callable[..., Any]) -> None:
    """A session that dies, and leaving the server, close its widgets: the slider is gone from the page."""
    notebook = open_notebook(
        [CONNECT, SLIDER, "%%rpc_call --noblock\nos._exit(3)", "%rpc_restart", SLIDER, "%rpc_disconnect"]
    )
    notebook.run_cell(0)
    for number, end in ((1, "failed"), (4, "disconnected")):
        notebook.run_cell(number)
        slider = notebook.output(number).get_by_role("slider").first
        slider.wait_for()
        notebook.run_cell(number + 1)
        notebook.wait_for_text(number + 1, end)
        slider.wait_for(state="detached")
        if number == 1:
            notebook.run_cell(3)
            notebook.wait_for_text(3, "restarted")
    notebook.picture("remote-widgets-closed")
