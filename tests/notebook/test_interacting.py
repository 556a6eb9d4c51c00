"""Controls here, the function there: `rpc_magic.notebook.interacting`."""

from __future__ import annotations

from collections.abc import Iterator
from queue import Queue
from typing import Any

import pytest

import rpc_magic
from rpc_magic.notebook import interacting
from rpc_magic.notebook.interacting import Canvas, _Controls

PNG = "iVBORw0KGgo="


def display(**data: str) -> dict[str, Any]:
    return {
        "output_type": "display_data",
        "data": {k.replace("_", "/"): v for k, v in data.items()},
        "metadata": {},
    }


def test_parts_of_the_same_kind_are_changed_in_place() -> None:
    """The widgets stay, so that nothing flickers; other parts make other widgets."""
    canvas = Canvas()
    canvas.show([{"output_type": "stream", "name": "stdout", "text": "<a"}, display(image_png=PNG)])
    text, picture = canvas.box.children
    assert text.value == "<pre>&lt;a</pre>"
    assert bytes(picture.value).startswith(b"\x89PNG")
    canvas.show([display(text_html="<b>t</b>", text_plain="t"), display(image_png="AAAA" + PNG)])
    assert canvas.box.children == (text, picture)
    assert text.value == "<b>t</b>"
    assert len(picture.value) == 11
    canvas.show([display(application_json="1")])
    [other] = canvas.box.children
    assert other.outputs[0]["data"] == {"application/json": "1"}
    canvas.show([display(text_html="<script>x()</script>")])
    assert canvas.box.children == (other,)


@pytest.fixture(scope="module")
def conn() -> Iterator[rpc_magic.Connection]:
    """One connection for all."""
    with rpc_magic.connect() as connection:
        yield connection


def shown(controls: _Controls) -> Any:
    controls.wait()
    return controls._canvas.outputs


def test_controls_are_those_of_ipywidgets(conn: rpc_magic.Connection) -> None:
    """Pairs, lists, truths, defaults; a control that moves has the function run with all of them."""

    def f(a, b, c, d=3, e="x"):
        print(a, b, c, d, e)

    controls = _Controls(conn, f, {"a": (0, 10), "b": ["p", "q"], "c": True})
    kinds = [type(widget).__name__ for widget in controls.kwargs_widgets]
    assert kinds == ["IntSlider", "Dropdown", "Checkbox", "IntSlider", "Text"]
    assert shown(controls)[0]["text"] == "5 p True 3 x\n"
    controls._is_shown.clear()
    controls.kwargs_widgets[0].value = 7
    assert shown(controls)[0]["text"] == "7 p True 3 x\n"


def test_errors_are_shown(conn: rpc_magic.Connection) -> None:
    """Those of the function, and of what cannot travel; an argument without a control is told at once."""
    [error] = shown(_Controls(conn, lambda x: x / 0, {"x": (1, 2)}))
    assert (error["ename"], error["evalue"]) == ("ZeroDivisionError", "division by zero")
    unsendable = interacting.ipywidgets.fixed(one for one in ())
    controls = _Controls(conn, lambda x: x, {"x": unsendable})
    assert shown(controls)[0]["ename"] == "TransferError"
    with pytest.raises(ValueError, match="x"):
        conn.interact(lambda x: x)
    with pytest.raises(TypeError, match="not int"):
        conn.interact(5)


def test_the_decorator_returns_the_function(
    conn: rpc_magic.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With controls or without; the controls are displayed."""
    displayed: list[Any] = []
    monkeypatch.setattr(_Controls, "show", lambda controls: displayed.append(controls))  # noqa: PLW0108 - a bound method

    def f(x=(1, 3)):
        return x

    assert conn.interact(x=(1, 2))(f) is f
    assert conn.interact(f) is f
    assert [type(one) for one in displayed] == [_Controls, _Controls]


def test_what_is_shown_is_kept_for_a_saved_notebook(
    conn: rpc_magic.Connection, monkeypatch: pytest.MonkeyPatch, time_factor: float
) -> None:
    """The first result stands in the notebook with the controls; the last one once the hand rests, none before."""
    kept: Queue[tuple[str, str]] = Queue()
    monkeypatch.setattr(interacting.Lasting, "show", lambda _, widget, *texts: kept.put(texts))
    monkeypatch.setattr(interacting.Lasting, "renew", lambda _, *texts: kept.put(texts))

    def f(x):
        print("x is", x)

    def move(to):
        controls._is_shown.clear()
        controls.kwargs_widgets[0].value = to
        controls.wait()

    monkeypatch.setattr(interacting, "_REST_SECONDS", 3600)
    controls = _Controls(conn, f, {"x": (0, 98)})
    controls.show()
    assert kept.get_nowait() == ("f(x=49)", "<code>f(x=49)</code><pre>x is 49\n</pre>")
    move(60)
    move(61)
    assert kept.empty()
    monkeypatch.setattr(interacting, "_REST_SECONDS", 0)
    move(62)
    assert kept.get(timeout=30 * time_factor)[1].endswith("<pre>x is 62\n</pre>")
    assert kept.empty()
