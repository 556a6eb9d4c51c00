"""The status widget: one line with a light, the state and buttons; unfolded, three tabs. Watches the plain model.

Its values are set by the model's thread, its handlers run on whatever thread the kernel has for comms
(`rpc_magic.notebook.live`). What changes the notebook's variables is left to the thread that runs the cells.
"""

from __future__ import annotations

import html
from typing import Any

import ipywidgets

from rpc_magic.notebook.extension import Extension
from rpc_magic.notebook.lasting import Lasting
from rpc_magic.notebook.live import hears_while_busy, kernel_here, live
from rpc_magic.notebook.panels import CallsPanel, ConnectionPanel, VariablesPanel, button
from rpc_magic.notebook.registry import Server
from rpc_magic.notebook.status import ALIVE, Snapshot
from rpc_magic.notebook.widget import COLOURS, line_of
from rpc_magic.runtime.addresses import short_url

__all__ = ["View"]

_TITLES = ("Connection", "Variables", "Calls")
_OVER = frozenset({"closed", "lost"})

_STYLE = """<style>
.rpc-magic-status { container-type: inline-size; }
.rpc-magic-status .rpc-magic-line { line-height: 1.5; overflow-wrap: anywhere; }
.rpc-magic-status .rpc-magic-faint { opacity: .75; }
.rpc-magic-status table.rpc-magic-facts td {
  padding: 1px 14px 1px 0; text-align: left; vertical-align: top; line-height: 1.45; }
.rpc-magic-status table.rpc-magic-facts td:first-child { opacity: .75; white-space: nowrap; }
.rpc-magic-status select, .rpc-magic-status .rpc-magic-head {
  font-family: var(--jp-code-font-family, monospace); font-size: var(--jp-code-font-size, 13px); }
.rpc-magic-status .rpc-magic-head { white-space: pre; padding-left: 3px; overflow: hidden; }
.rpc-magic-status :focus-visible { outline: 2px solid var(--jp-brand-color1, #1976d2); outline-offset: 1px; }
</style>"""


class View:
    """The widget of one server.

    Args:
        extension: the notebook's.
        server: whose status it shows.

    Attributes:
        box: the widget itself.
    """

    def __init__(self, extension: Extension, server: Server) -> None:
        self._server = server
        self._kernel = kernel_here()
        attachment = server.connection.attachment
        self._where = "beside this kernel" if attachment.is_embedded else short_url(attachment.url)
        self._call = 0
        self._kept = ""  # the state that a saved notebook shows
        self._lasting = Lasting()
        self._text = live(ipywidgets.HTML)()
        self._text.add_class("rpc-magic-line")
        self._stop = button("Stop", "Interrupt what runs there", "stop")
        self._leave = button("Disconnect", "Leave the server; a private session ends", "")
        self._fold = live(ipywidgets.ToggleButton)(
            description="Details", icon="chevron-right", tooltip="Connection, variables and calls"
        )
        self._fold.layout.width = "auto"
        self.panels = (ConnectionPanel(server), VariablesPanel(extension, server), CallsPanel(server))
        self._tabs = live(ipywidgets.Tab)(children=[panel.box for panel in self.panels], titles=_TITLES)
        self._tabs.layout.display = "none"
        line = live(ipywidgets.HBox)([self._fold, self._text, self._stop, self._leave])
        line.layout.flex_flow, line.layout.align_items = "row wrap", "center"
        self.box = live(ipywidgets.VBox)([live(ipywidgets.HTML)(_STYLE), line, self._tabs])
        self.box.children[0].layout.display = "none"
        self.box.layout.max_width = "100%"
        self.box.add_class("rpc-magic-status")

        self._stop.on_click(lambda _: server.status.stop(self._call))
        self._leave.on_click(lambda _: self._disconnect())
        self._fold.observe(lambda _: self._unfold(), "value")
        self._tabs.observe(lambda _: server.status.touch(), "selected_index")
        server.calls.changed = server.status.touch
        server.status.wants_facts = lambda: self._open_panel() is self.panels[0]
        self.update(server.status.now())
        server.status.watch(self.update)

    def show(self) -> None:
        """Show it under the cell that runs; where no widgets are, as in a saved notebook, the last state stands."""
        snapshot = self._server.status.now()
        self._kept = snapshot.word
        self._lasting.show(self.box, str(snapshot), line_of(snapshot))

    # ------------------------------------------------------------ handlers, on any thread

    def _unfold(self) -> None:
        is_open = self._fold.value
        self._fold.icon = "chevron-down" if is_open else "chevron-right"
        self._tabs.layout.display = None if is_open else "none"
        self._server.status.touch()

    def _disconnect(self) -> None:
        self._server.relay.close()
        self._server.connection.close()

    # ------------------------------------------------------------ what the model says, on its thread

    def _open_panel(self) -> Any:
        index = self._tabs.selected_index
        return self.panels[index] if self._fold.value and index is not None else None

    def update(self, snapshot: Snapshot) -> None:
        """Show a state. What has not changed is not sent to the page."""
        self._call = snapshot.call
        is_over = snapshot.word in _OVER
        is_unheard = snapshot.is_blocked and not is_over and not hears_while_busy(self._kernel)
        self._text.value = self._line(snapshot, is_unheard=is_unheard)
        self._stop.disabled = is_unheard or not snapshot.call
        self._leave.disabled = is_unheard or is_over
        self._fold.disabled = is_unheard
        panel = self._open_panel()
        if panel is not None:
            panel.update(snapshot, is_unheard=is_unheard)
        is_passing = self._kept == "connected" and snapshot.word in ALIVE  # not worth a message for each cell
        if self._kept not in {"", snapshot.word} and not is_passing:
            self._kept = snapshot.word
            self._lasting.renew(str(snapshot), line_of(snapshot))

    def _line(self, snapshot: Snapshot, *, is_unheard: bool) -> str:
        colour = COLOURS.get(snapshot.word, "#8a8a8a")
        word = snapshot.word
        parts = [
            f'<span style="color:{colour};font-size:1.2em" aria-hidden="true">●</span> <b>{word}</b>',
            f"{html.escape(snapshot.name)} <span class='rpc-magic-faint'>{html.escape(self._where)}</span>",
        ]
        if snapshot.word in ALIVE:
            parts.append(round_trip_text(snapshot.round_trip))
        if snapshot.word in {"busy", "stopping"}:
            running = [record for record in self._server.calls.latest() if record.state == "running"]
            title = f"<code>{html.escape(running[-1].title)}</code> " if running else ""
            parts.append(f"{title}{snapshot.busy_seconds:.0f} s")
        if snapshot.is_deaf:
            parts.append("the code does not react; Stop again ends the session, its variables are lost")
        if snapshot.word == "reconnecting":
            when = f"in {snapshot.next_seconds:.0f} s" if snapshot.next_seconds else "now"
            parts.append(f"attempt {snapshot.attempt} {when}")
        if snapshot.word == "died":
            parts.append("its variables are gone; <code>%rpc_restart</code> gives a new session")
        elif snapshot.word == "lost":
            parts.append("run <code>%rpc_connect</code> again")
        if is_unheard:
            parts.append("use ■ in the toolbar")
        return " · ".join(part for part in parts if part)


def round_trip_text(seconds: float) -> str:
    """Return a round trip as people read it; coarse, so that it does not change all the time."""
    if not seconds:
        return ""
    milliseconds = seconds * 1000
    if milliseconds < 1:
        return "under 1 ms"
    return f"{milliseconds:.0f} ms" if milliseconds < 20 else f"{round(milliseconds, -1):.0f} ms"
