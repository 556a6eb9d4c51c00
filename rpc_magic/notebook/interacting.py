"""`Connection.interact`: ipywidgets' controls here, the function there, what it shows here.

Results come on a thread of their own. A result that has the same parts as the one before, as a picture and a
table, takes its place in the widgets that are there: nothing is taken away before the new is there, so nothing
flickers. When the hand rests, the notebook gets the result as text and pictures too, for when it is saved.
"""

from __future__ import annotations

import base64
import contextlib
import html
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets
from IPython.core.getipython import get_ipython

from rpc_magic.client.newest import Newest
from rpc_magic.notebook.errors import prepare
from rpc_magic.notebook.lasting import Lasting
from rpc_magic.notebook.live import live
from rpc_magic.notebook.outputs import PICTURES, html_of, outputs_of

if TYPE_CHECKING:
    from rpc_magic.client import Connection
    from rpc_magic.wire import messages

__all__ = ["Canvas", "show_controls"]

_FIRST_SECONDS = 5.0
"""How long the first result is waited for, so that a saved notebook has its picture."""
_REST_SECONDS = 0.5
"""How long no result came before the last one is put down for a saved notebook: each costs its size once more."""
_PLAIN = frozenset({*PICTURES, "text/html", "text/plain"})
"""Types that a part may have and still be shown by a widget that is changed in place."""


class Canvas:
    """Shows outputs, each new one in the place of the last.

    Attributes:
        box: the widget.
        outputs: what is shown.
    """

    def __init__(self) -> None:
        self.box = live(ipywidgets.VBox)()
        self.outputs: list[dict[str, Any]] = []
        self._kinds: list[str] = []

    def show(self, outputs: list[dict[str, Any]]) -> None:
        """Show outputs instead of those that are shown."""
        parts = [_part(output) for output in outputs]
        kinds = [kind for kind, _ in parts]
        if kinds == self._kinds:
            for widget, (kind, value) in zip(self.box.children, parts, strict=True):
                _set(widget, kind, value)
        else:
            self.box.children = tuple(_make(kind, value) for kind, value in parts)
            self._kinds = kinds
        self.outputs = outputs


def _part(output: dict[str, Any]) -> tuple[str, Any]:
    """Return how an output is shown, and the value that is set."""
    if output["output_type"] == "stream" and "\x1b" not in output["text"] and "\r" not in output["text"]:
        return "html", f"<pre>{html.escape(output['text'])}</pre>"
    data = output.get("data", {"": ""})
    if _PLAIN.issuperset(data):
        for mime, name in PICTURES.items():
            if mime in data:
                return name, base64.b64decode(data[mime])
        text = data.get("text/html")
        if text is None:
            return "html", f"<pre>{html.escape(data.get('text/plain', ''))}</pre>"
        if "<script" not in text:  # which would not run there
            return "html", text
    return "output", (output,)


def _make(kind: str, value: Any) -> Any:
    if kind == "html":
        made = live(ipywidgets.HTML)(value)
        made.add_class("jp-RenderedHTMLCommon")
        made.layout.align_self = "flex-start"
        return made
    if kind == "output":
        made = live(ipywidgets.Output)()
        made.outputs = value
        return made
    made = live(ipywidgets.Image)(value=value, format=kind)
    made.layout.max_width, made.layout.object_fit = "100%", "contain"
    made.layout.align_self = "flex-start"
    return made


def _set(widget: Any, kind: str, value: Any) -> None:
    if kind == "output":
        widget.outputs = value
    else:
        widget.value = value


def _error_output(error: BaseException) -> dict[str, Any]:
    """Return an error as an output, with the frames of there."""
    lines = [f"{type(error).__name__}: {error}"]
    shell = get_ipython()
    if shell is not None:
        with contextlib.suppress(Exception):  # the error itself matters more than its frames
            prepare(error)
            lines = shell.InteractiveTB.structured_traceback(type(error), error, error.__traceback__)
    return {"output_type": "error", "ename": type(error).__name__, "evalue": str(error), "traceback": lines}


class _Controls(ipywidgets.interactive):  # type: ignore[misc]  # ipywidgets is not typed here
    """The controls, and the canvas below them."""

    def __init__(self, connection: Connection, f: Callable[..., Any], controls: dict[str, Any]) -> None:
        self._canvas = Canvas()
        self._newest = Newest(connection.exchange, f, self._take)
        self._is_shown = threading.Event()
        self._lasting = Lasting()
        self._rest = threading.Timer(_REST_SECONDS, self._keep)
        super().__init__(f, {}, **controls)
        controlled = [widget for widget in self.kwargs_widgets if isinstance(widget, ipywidgets.DOMWidget)]
        self.children = (*controlled, self._canvas.box)

    def update(self, *_: Any) -> None:
        """A control has moved."""
        kwargs = {widget._kwarg: widget.get_interact_value() for widget in self.kwargs_widgets}  # noqa: SLF001 - ipywidgets' own mark
        self.kwargs = kwargs
        self._newest.move(kwargs)

    def _take(self, shown: list[messages.Message], error: BaseException | None) -> None:
        """Show a result; on the thread that computes them."""
        outputs = outputs_of(shown)
        if error is not None:
            outputs.append(_error_output(error))
        self._canvas.show(outputs)
        self._is_shown.set()
        self._rest.cancel()
        self._rest = threading.Timer(_REST_SECONDS, self._keep)
        self._rest.daemon = True
        self._rest.start()

    def show(self) -> None:
        """Show the controls, with the first result if that does not take long."""
        self.wait()
        self._lasting.show(self, *self._texts())

    def wait(self) -> None:
        """Wait until the first result is shown, but not for long."""
        self._is_shown.wait(_FIRST_SECONDS)

    def _keep(self) -> None:
        """Have a notebook that is saved from now on show what is shown now; on a thread of its own."""
        self._lasting.renew(*self._texts())

    def _texts(self) -> tuple[str, str]:
        """Return what is shown as text and as HTML."""
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.kwargs.items())
        plain = f"{self.f.__name__}({arguments})"
        return plain, f"<code>{html.escape(plain)}</code>{html_of(self._canvas.outputs)}"


def show_controls(connection: Connection, f: Callable[..., Any], controls: dict[str, Any]) -> None:
    """Show controls for a function's arguments; see `Connection.interact`.

    Raises:
        ValueError: an argument of `f` has no control.
    """
    _Controls(connection, f, controls).show()
