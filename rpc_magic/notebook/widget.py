"""The status as a line of widgets: a light, the state, and buttons. Watches the plain model; knows no magics."""

from __future__ import annotations

import contextvars
import html
from typing import Any

from rpc_magic.notebook.registry import Server
from rpc_magic.notebook.status import Snapshot

__all__ = ["show_widget"]

_COLOURS = {
    "connected": "#2e9e4f",
    "busy": "#d99a00",
    "stopping": "#d9480f",
    "lost": "#c62828",
    "died": "#c62828",
    "closed": "#8a8a8a",
}


def line_of(snapshot: Snapshot) -> str:
    """Return the state as HTML."""
    colour = _COLOURS.get(snapshot.word, "#8a8a8a")
    return f'<span style="color:{colour}">●</span> {html.escape(str(snapshot))}'


def show_widget(server: Server) -> bool:
    """Show the status of a server as a widget that follows it; False where widgets cannot be shown."""
    try:
        import ipywidgets
        from IPython.display import display
    except ImportError:
        return False
    display(_make(ipywidgets, server))
    return True


def _make(widgets: Any, server: Server) -> Any:
    status = server.status
    light = widgets.HTML(line_of(status.ask()))
    stop = widgets.Button(description="Stop", tooltip="Interrupt what runs there", icon="stop")
    leave = widgets.Button(description="Disconnect", tooltip="Leave the server; a private session ends")
    for button in (stop, leave):
        button.layout.width = "auto"

    class Line(widgets.HBox):  # type: ignore[misc]  # ipywidgets is not typed here
        """The line; where no widgets are shown, as in a saved notebook, its text stands."""

        def _repr_mimebundle_(self, **options: Any) -> Any:
            bundle = super()._repr_mimebundle_(**options)
            data = bundle[0] if isinstance(bundle, tuple) else bundle
            snapshot = status.now()
            if data is not None:
                data["text/plain"] = str(snapshot)
                data["text/html"] = line_of(snapshot)
            return bundle

    # Messages of a widget carry the cell that is current in the context; a thread has none of its own.
    context = contextvars.copy_context()

    def update(snapshot: Snapshot) -> None:
        text = line_of(snapshot)
        is_over = snapshot.word in {"closed", "lost"}

        def set_values() -> None:
            light.value = text
            stop.disabled = leave.disabled = is_over

        context.copy().run(set_values)

    stop.on_click(lambda _: status.stop())
    leave.on_click(lambda _: server.connection.close())
    status.watch(update)
    return Line([light, stop, leave])
