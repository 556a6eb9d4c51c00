"""A widget and its text: two outputs, of which the text follows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import ipywidgets
import pytest

from rpc_magic.notebook import lasting


class FakeKernel:
    """A kernel whose page is a list."""

    iopub_socket = "iopub"

    def __init__(self) -> None:
        self.session = self
        self.page: list[tuple[str, Any, str]] = []

    def get_parent(self) -> str:
        return "the cell"

    def send(self, socket: str, kind: str, content: dict[str, Any], *, parent: str, ident: bytes) -> None:
        self.page.append((kind, content, parent))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is displayed."""
    bundles: list[dict[str, Any]] = []

    def display(bundle: dict[str, Any], *, raw: bool, display_id: bool = False) -> Any:
        assert raw
        bundles.append(bundle)
        return SimpleNamespace(display_id=f"id-{len(bundles)}") if display_id else None

    monkeypatch.setattr(lasting, "display", display)
    return bundles


def test_each_text_that_is_shown_follows(
    shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text stands above the widget, which is shown without one; a change reaches all texts, under their cells."""
    kernel = FakeKernel()
    monkeypatch.setattr(lasting, "kernel_here", lambda: kernel)
    one, widget = lasting.Lasting(), ipywidgets.Label("x")
    one.show(widget, "plain", "<b>line</b>")
    one.show(widget, "plain", "<b>line</b>")
    assert [sorted(bundle) for bundle in shown] == 2 * [
        ["text/html", "text/plain"],
        [lasting.VIEW, "text/plain"],
    ]
    assert shown[1][lasting.VIEW]["model_id"] == widget.model_id
    assert shown[1]["text/plain"] == ""
    one.renew("other", "<i>other</i>")
    assert [(kind, parent, content["transient"]) for kind, content, parent in kernel.page] == [
        ("update_display_data", "the cell", {"display_id": "id-1"}),
        ("update_display_data", "the cell", {"display_id": "id-3"}),
    ]
    assert "<i>other</i>" in kernel.page[0][1]["data"]["text/html"]


def test_without_a_kernel_nothing_follows(shown: list[dict[str, Any]]) -> None:
    """What was shown in a terminal stays as it was."""
    one = lasting.Lasting()
    one.show(ipywidgets.Label("x"), "plain", "line")
    one.renew("other", "other")
    assert [bundle["text/plain"] for bundle in shown] == ["plain", ""]
