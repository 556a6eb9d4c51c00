"""The status widget's values, without a page: `rpc_magic.notebook.view` and `panels`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from rpc_magic.notebook import panels, view
from rpc_magic.notebook.status import Snapshot


def snapshot(word: str) -> Snapshot:
    return Snapshot(word, "lab", "tcp://lab:1", "s")


@pytest.fixture
def server() -> Any:
    """A server whose state the test says."""
    status = SimpleNamespace(now=lambda: snapshot("connected"), watch=lambda _: None, touch=lambda: None)
    connection = SimpleNamespace(attachment=SimpleNamespace(is_embedded=True))
    return SimpleNamespace(status=status, connection=connection, calls=SimpleNamespace(latest=list))


def test_a_saved_notebook_has_the_state_that_lasts(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell that runs costs no message; whatever else was put down is put right as soon as it is no longer true."""
    kept: list[str] = []
    monkeypatch.setattr(view.Lasting, "show", lambda _, widget, plain, line: kept.append(plain))
    monkeypatch.setattr(view.Lasting, "renew", lambda _, plain, line: kept.append(plain))
    shown = view.View(SimpleNamespace(shell=None, registry=None), server)  # type: ignore[arg-type]  # what it uses of it
    shown.update(snapshot("lost"))
    assert kept == []  # nothing is on the page yet
    shown.show()
    for word in (
        "connected",
        "busy",
        "stopping",
        "connected",
        "reconnecting",
        "stopping",
        "connected",
        "busy",
    ):
        shown.update(snapshot(word))
    words = [plain.removeprefix("lab: ").partition(",")[0].split()[0] for plain in kept]
    assert words == ["connected", "reconnecting", "stopping", "connected"]


@pytest.mark.parametrize("kind", [panels.ipywidgets.Select, panels.ipywidgets.SelectMultiple])
def test_a_line_is_chosen_by_buttons(kind: type) -> None:
    """From the first one on, and no further than the ends."""
    one = panels._List(kind, [("name", 9)], "names")
    up, down = one.buttons
    down.click()
    assert one.chosen() == []
    one.fill([(name, (name,)) for name in "abc"])
    chosen = []
    for pressed in (down, down, down, down, up, up, up):
        pressed.click()
        chosen += one.chosen()
    assert chosen == ["a", "b", "c", "c", "b", "a", "a"]
