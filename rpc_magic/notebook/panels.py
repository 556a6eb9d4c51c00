"""The tabs of the status widget: connection, variables, calls. Each is updated while it is open."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets

from rpc_magic.client.values import human_size
from rpc_magic.errors import RpcMagicError
from rpc_magic.notebook.calllog import Record
from rpc_magic.notebook.extension import Extension
from rpc_magic.notebook.live import live, on_main_thread
from rpc_magic.notebook.moving import delete, fetch, send
from rpc_magic.notebook.outputs import outputs_of
from rpc_magic.notebook.registry import Server
from rpc_magic.notebook.status import ALIVE, Facts, Snapshot
from rpc_magic.notebook.variables import Variable, list_variables

__all__ = ["CallsPanel", "ConnectionPanel", "VariablesPanel", "button"]

_ROWS = 8
"""Lines of a list that are visible at once."""
_SPACE = "\N{NO-BREAK SPACE}"  # a list's lines keep their columns


def button(text: str, tooltip: str, icon: str) -> Any:
    """Return a button as wide as its text."""
    made = live(ipywidgets.Button)(description=text, tooltip=tooltip, icon=icon)
    made.layout.width = "auto"
    return made


def _row(children: list[Any]) -> Any:
    box = live(ipywidgets.HBox)(children)
    box.layout.flex_flow, box.layout.align_items = "row wrap", "center"
    return box


def _cell(text: str, width: int) -> str:
    text = text if len(text) < width else f"{text[: width - 2]}…"
    return text.ljust(width).replace(" ", _SPACE)


# ---------------------------------------------------------------- connection


class ConnectionPanel:
    """Facts about the server, the session and the way to them.

    Args:
        server: the server.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.box = live(ipywidgets.HTML)()

    def update(self, snapshot: Snapshot, *, is_unheard: bool) -> None:  # noqa: ARG002 - the panels' common signature
        """Show what is known."""
        facts = self._server.status.facts()
        rows = "".join(f"<tr><td>{name}</td><td>{value}</td></tr>" for name, value in _facts(snapshot, facts))
        self.box.value = f'<table class="rpc-magic-facts">{rows}</table>'


def _facts(snapshot: Snapshot, facts: Facts) -> list[tuple[str, str]]:
    welcome, machine = facts.welcome, facts.machine
    versions = ", ".join(
        f"{name} {version}" for name, version in welcome.versions.items() if name != "python"
    )
    rows = [
        ("server", f"{welcome.name} at {welcome.url}, process {welcome.pid}"),
        ("host", f"{welcome.user} on {welcome.host}"),
        ("Python", f"{welcome.versions.get('python', '')}; {versions}"),
        ("session", f"{snapshot.session}, process {facts.worker_pid}" if facts.worker_pid else "none"),
    ]
    rows = [(name, html.escape(text)) for name, text in rows]
    use = f"{facts.cpu:.0f} % of a processor, {human_size(facts.memory)}"
    rows.append(("session uses", use + (f"; {_age(machine.session_age)} old" if machine else "")))
    if machine is not None:
        memory = f"{human_size(machine.memory_used)} of {human_size(machine.memory)}"
        rows.append(
            ("machine", f"{machine.load:.0f} % of {machine.processors} processors, {memory} of memory in use")
        )
        rows.append(("server is up", _age(machine.uptime)))
    rows.append(
        (
            "sent, received",
            f"{human_size(facts.sent)}, {human_size(facts.received)}; {human_size(facts.saved)} not sent again",
        )
    )
    rows.append(("round trip", _history(facts.round_trips)))
    return rows


def _age(seconds: float) -> str:
    minutes = int(seconds // 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    days, hours = minutes // 1440, minutes // 60
    if hours < 1:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if days < 1 else f"{days} d {hours % 24} h"


def _history(round_trips: tuple[float, ...]) -> str:
    """Return the last round trips as a small line, with the last one in words."""
    if len(round_trips) < 2:
        return ""
    top = max(round_trips) or 1.0
    width, height = 160, 22
    step = width / (len(round_trips) - 1)
    points = " ".join(
        f"{number * step:.1f},{height - 2 - seconds / top * (height - 4):.1f}"
        for number, seconds in enumerate(round_trips)
    )
    return (
        f'<svg width="{width}" height="{height}" role="img" aria-label="the last round trips" '
        f'style="vertical-align:middle"><polyline points="{points}" fill="none" stroke="currentColor" '
        f'stroke-width="1.2"/></svg> {round_trips[-1] * 1000:.1f} ms, at most {top * 1000:.1f} ms'
    )


# ---------------------------------------------------------------- lists


class _List:
    """A list of lines with columns, from which the user chooses: in it, or by two buttons.

    The buttons are for those who have no mouse: JupyterLab takes the arrow keys of a list for its own.

    Args:
        kind: of ipywidgets: `Select` or `SelectMultiple`.
        head: the columns' titles and their widths.
        label: what the list is, for those who do not see it.
    """

    def __init__(self, kind: type, head: list[tuple[str, int]], label: str) -> None:
        self._widths = [width for _, width in head]
        self._keys: tuple[Any, ...] = ()
        titles = "".join(_cell(title, width) for title, width in head)
        self.head = live(ipywidgets.HTML)(f"<div class='rpc-magic-head'>{titles}</div>")
        self.list = live(kind)(options=[], rows=_ROWS, tooltip=label)
        self.list.layout.width = "calc(100% - 4px)"
        self.is_multiple = kind is ipywidgets.SelectMultiple
        up = button("Up", "Choose the line above", "arrow-up")
        down = button("Down", "Choose the line below", "arrow-down")
        up.on_click(lambda _: self._move(-1))
        down.on_click(lambda _: self._move(1))
        self.buttons = (up, down)

    def _move(self, by: int) -> None:
        """Choose the line before or after the one that is chosen, and no other; without one, the first."""
        if not self._keys:
            return
        places = self._places()
        place = min(max(places[-1] + by, 0), len(self._keys) - 1) if places else 0
        self.list.index = (place,) if self.is_multiple else place

    def fill(self, rows: Sequence[tuple[Any, tuple[str, ...]]]) -> None:
        """Show rows, each with its key; what was chosen stays chosen."""
        lines = [
            "".join(_cell(text, width) for text, width in zip(row, self._widths, strict=True)).rstrip(_SPACE)
            for _, row in rows
        ]
        keys = tuple(key for key, _ in rows)
        if list(self.list.options) == lines and keys == self._keys:
            return
        chosen = self.chosen()
        with self.list.hold_sync():
            self._keys = keys
            self.list.options = lines
            places = tuple(number for number, key in enumerate(keys) if key in chosen)
            if self.is_multiple:
                self.list.index = places
            else:
                self.list.index = places[0] if places else None

    def chosen(self) -> list[Any]:
        """Return the keys of what is chosen."""
        return [self._keys[place] for place in self._places() if place < len(self._keys)]

    def _places(self) -> tuple[int, ...]:
        index = self.list.index
        return index if isinstance(index, tuple) else () if index is None else (index,)


class VariablesPanel:
    """The variables of here and there.

    Args:
        extension: the notebook's.
        server: whose session it is.
    """

    def __init__(self, extension: Extension, server: Server) -> None:
        self._extension, self._server = extension, server
        self._seen = -1
        # On a page of 600 pixels there is room for 58 letters.
        columns = [
            ("name", 13),
            ("where", 6),
            ("state", 12),
            ("type", 11),
            ("size", 8),
            ("shape", 20),
        ]
        self.list = _List(ipywidgets.SelectMultiple, columns, "variables here and there")
        self.note = live(ipywidgets.HTML)()
        fetching = button("Fetch", "Bring the chosen variables here", "download")
        sending = button("Send", "Send the chosen variables there", "upload")
        deleting = button("Delete", "Delete the chosen variables there; what is here stays", "trash")
        self.buttons = (fetching, sending, deleting)
        self.box = live(ipywidgets.VBox)(
            [self.list.head, self.list.list, _row([*self.list.buttons, *self.buttons, self.note])]
        )
        shell, registry = extension.shell, extension.registry
        self._on(fetching, lambda names: fetch(names, shell, server, registry))
        self._on(sending, lambda names: send(names, shell.user_ns, server, registry))
        self._on(deleting, lambda names: delete(names, shell.user_ns, server))

    def _on(self, pressed: Any, work: Callable[[list[str]], None]) -> None:
        def do(names: list[str]) -> None:
            try:
                work(names)
                self.note.value = ""
            except (RpcMagicError, NameError, TypeError, ImportError) as error:
                self.note.value = html.escape(str(error))
            self._server.status.touch()

        def handle(_: Any) -> None:
            names = self.list.chosen()
            if not names:
                self.note.value = "choose variables in the list first"
                return
            self.note.value = f"{pressed.description}: {html.escape(', '.join(names))} …"
            on_main_thread(lambda: do(names))

        pressed.on_click(handle)

    def update(self, snapshot: Snapshot, *, is_unheard: bool) -> None:
        """Show the list anew, if something has happened since."""
        for one in self.buttons:
            one.disabled = is_unheard or snapshot.word not in ALIVE
        for one in self.list.buttons:
            one.disabled = is_unheard
        if snapshot.changes == self._seen:
            return
        rows = list_variables(self._extension.shell, self._server, self._extension.registry)
        if rows is None:
            if not self.note.value:
                self.note.value = "the session does not answer now; the list is as it was"
            return
        self._seen = snapshot.changes
        if self.note.value.startswith("the session does not answer"):
            self.note.value = ""
        self.list.fill([(row.name, _columns(row)) for row in rows])


def _columns(row: Variable) -> tuple[str, ...]:
    return row.name, row.where, row.state, row.kind.rpartition(".")[2], row.size, row.extent


# ---------------------------------------------------------------- calls


class CallsPanel:
    """The last calls.

    Args:
        server: where they ran.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        columns = [("call", 6), ("state", 13), ("time", 10), ("first line", 44)]
        self.list = _List(ipywidgets.Select, columns, "the last calls")
        self._again = button("Show output again", "Show below what the chosen call showed", "eye")
        self._cancel = button("Cancel", "End the chosen call", "times")
        self.output = live(ipywidgets.Output)()
        self.box = live(ipywidgets.VBox)(
            [
                self.list.head,
                self.list.list,
                _row([*self.list.buttons, self._again, self._cancel]),
                self.output,
            ]
        )
        self._again.on_click(lambda _: self._show())
        self._cancel.on_click(lambda _: self._end())

    def _chosen(self) -> Record | None:
        numbers = self.list.chosen()
        found = [record for record in self._server.calls.latest() if record.number in numbers]
        return found[0] if found else None

    def _show(self) -> None:
        record = self._chosen()
        if record is not None:
            self.output.outputs = tuple(_outputs(record))

    def _end(self) -> None:
        record = self._chosen()
        if record is not None and record.state == "running":
            record.cancel()

    def update(self, snapshot: Snapshot, *, is_unheard: bool) -> None:  # noqa: ARG002 - the panels' common signature
        """Show the list."""
        for one in (*self.list.buttons, self._again, self._cancel):
            one.disabled = is_unheard
        rows = [
            (r.number, (str(r.number), r.state, f"{r.seconds:.1f} s", r.title))
            for r in self._server.calls.latest()
        ]
        self.list.fill(rows)


def _outputs(record: Record) -> list[dict[str, Any]]:
    """Return what a call showed as a notebook's outputs."""
    outputs = outputs_of(record.shown)
    if record.is_cut:
        outputs.append({"output_type": "stream", "name": "stderr", "text": "\nmore was shown\n"})
    return outputs or [{"output_type": "stream", "name": "stdout", "text": "it showed nothing\n"}]
