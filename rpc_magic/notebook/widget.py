"""The status on a page: where it can be shown, and its text for where it cannot."""

from __future__ import annotations

import html

from rpc_magic.notebook.extension import Extension
from rpc_magic.notebook.registry import Server
from rpc_magic.notebook.status import Snapshot

__all__ = ["COLOURS", "line_of", "show_widget"]

COLOURS = {
    "connected": "#2e9e4f",
    "busy": "#d99a00",
    "stopping": "#d9480f",
    "reconnecting": "#d99a00",
    "lost": "#d64545",
    "died": "#d64545",
    "closed": "#8a8a8a",
}
"""Of the light; each can be told from light and dark pages, and stands beside its word."""


def line_of(snapshot: Snapshot) -> str:
    """Return the state as HTML, for a page without widgets, as a saved notebook's."""
    colour = COLOURS.get(snapshot.word, "#8a8a8a")
    return f'<span style="color:{colour}">●</span> {html.escape(str(snapshot))}'


def show_widget(extension: Extension, server: Server) -> bool:
    """Show the status of a server as a widget that follows it; False where widgets cannot be shown.

    However often it is shown, there is one widget for a server.
    """
    try:
        # Here, because it loads ipywidgets, which a terminal has no use for.
        from rpc_magic.notebook.view import View
    except ImportError:
        return False
    server.status.ask()
    if server.view is None:
        server.view = View(extension, server)
    server.view.show()
    return True
