"""What a remote call shows, shown here.

The thread that waits for a call shows it as if its own code had; what a background call shows goes under the cell that
started it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from IPython.core import page

from rpc_magic.notebook.relay import is_on_page
from rpc_magic.notebook.results import ResultHook
from rpc_magic.wire import messages

__all__ = ["Places", "background_show", "show_here"]

_WIDGET = "application/vnd.jupyter.widget-view+json"

Show = Callable[[messages.Message], None]


def show_here(shell: Any, message: messages.Message, results: ResultHook | None = None) -> None:
    """Show a message of a call that is waited for, so that ``%%capture`` and ``with output:`` work.

    Args:
        shell: IPython's shell.
        message: an output message; others are ignored.
        results: shows results of the running cell; without it they are shown as displays.
    """
    match message:
        case messages.Stream(name, text):
            stream = sys.stderr if name == "stderr" else sys.stdout
            stream.write(text)
            stream.flush()
        case messages.Display(data, metadata, transient, update):
            shell.display_pub.publish(
                data=_shown(data), metadata=metadata, transient=transient, update=update
            )
        case messages.ExecuteResult(data, metadata, _, is_value):
            if results is not None:
                results.show(message)
            elif not is_value:
                shell.display_pub.publish(data=data, metadata=metadata)
        case messages.ShownError():
            shell._showtraceback(_type_named(message.type_name), message.message, list(message.lines))  # noqa: SLF001 - the front end's hook
        case messages.Page(data):
            page.page(data)
        case messages.NextInput(text, replace):
            shell.set_next_input(text, replace=replace)
        case messages.ClearOutput(wait):
            shell.display_pub.clear_output(wait)


def background_show(shell: Any) -> Show:
    """Return what shows the output of a call that starts now and is not waited for; for use on any thread.

    In a kernel its output goes to the cell that runs now, whatever runs when it comes. Elsewhere it is shown at once.
    """
    publisher = shell.display_pub
    session, socket = getattr(publisher, "session", None), getattr(publisher, "pub_socket", None)
    if session is None or socket is None:
        return lambda message: show_here(shell, message)
    parent = dict(publisher.parent_header or {})

    def show(message: messages.Message) -> None:
        kind: str
        content: dict[str, Any]
        match message:
            case messages.Stream(name, text):
                kind, content = "stream", {"name": name, "text": text}
            case messages.Display(data, metadata, transient, update):
                kind = "update_display_data" if update else "display_data"
                content = {"data": _shown(data), "metadata": metadata, "transient": transient}
            case messages.ExecuteResult(data, metadata, _, False):
                kind, content = "display_data", {"data": data, "metadata": metadata, "transient": {}}
            case messages.ShownError(type_name, text, lines):
                kind, content = "error", {"ename": type_name, "evalue": text, "traceback": list(lines)}
            case messages.Page(data):
                kind, content = "display_data", {"data": data, "metadata": {}, "transient": {}}
            case messages.ClearOutput(wait):
                kind, content = "clear_output", {"wait": wait}
            case _:
                return
        session.send(socket, kind, content, parent=parent, ident=kind.encode())

    return show


class Places:
    """Makes what shows the output of calls that nobody waits for under the cell that started them; `Exchange.place`.

    Args:
        shell: IPython's shell.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._cell: object = None
        self._show: Callable[..., None] = lambda *_: None

    def __call__(self) -> Callable[..., None]:
        """Return what shows it, one for each cell."""
        parent = getattr(self._shell.display_pub, "parent_header", None) or {}
        cell = parent.get("header", {}).get("msg_id")
        if cell is None or cell != self._cell:
            under = background_show(self._shell)
            self._cell, self._show = cell, lambda message, _: under(message)
        return self._show


def _type_named(name: str) -> type:
    """Return a class for an error of which only the name is known."""
    return type(name, (Exception,), {})


def _shown(data: dict[str, Any]) -> dict[str, Any]:
    """Return a bundle without a widget that is on no page, as in a terminal: its text stands for it."""
    widget = data.get(_WIDGET)
    if widget is None or len(data) == 1 or is_on_page(widget.get("model_id")):
        return data
    return {mime: value for mime, value in data.items() if mime != _WIDGET}
