"""Comms: widgets' messages go out through the outputs, and come in to their callbacks."""

from __future__ import annotations

import pytest

pytest.importorskip("ipywidgets")

CLICK = """
from rpc_magic.wire.messages import CommMessage
def tell(method, state, buffers=()):
    data = {"method": method, "state": state, "buffer_paths": []}
    get_ipython().comms.handle(CommMessage("comm_msg", slider.comm.comm_id, data, {}), buffers)
"""


def test_a_widget_opens_its_comms(run_cells):
    """A slider sends comm_open for its models, before its own display, and its bundle names the model."""
    reports = run_cells("import ipywidgets\nslider = ipywidgets.IntSlider(value=3)\nslider")
    opened = reports.of(1, "CommMessage")
    assert {one["kind"] for one in opened} == {"comm_open"}
    assert {one["target"] for one in opened} == {"jupyter.widget"}
    assert all("version" in one["metadata"] for one in opened)
    states = [one["data"]["state"] for one in opened]
    assert any(state.get("_model_name") == "IntSliderModel" and state["value"] == 3 for state in states)
    view = reports.done(1)["data"]["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] in {one["comm_id"] for one in opened}


def test_messages_reach_callbacks(run_cells):
    """A moved slider calls its observers; what they print and their errors are shown."""
    reports = run_cells(
        "import ipywidgets\nslider = ipywidgets.IntSlider()\n"
        "slider.observe(lambda c: print('now', c['new']), 'value')" + CLICK,
        "tell('update', {'value': 8})\nslider.value",
        "slider.observe(lambda c: 1/0, 'value')\ntell('update', {'value': 9})",
    )
    assert reports.text(2) == "now 8\n"
    assert reports.done(2)["value"] == "8"
    assert reports.text(3) == "now 9\n"
    assert [one["type_name"] for one in reports.of(3, "ShownError")] == ["ZeroDivisionError"]
    assert reports.done(3)["error"] is None


def test_binary_buffers(run_cells):
    """Buffers go out as they are."""
    reports = run_cells("import ipywidgets\npicture = ipywidgets.Image(value=b'\\x00\\xff')")
    assert "00ff" in [one for report in reports.of(1, "CommMessage") for one in report["buffers"]]


def test_output_widget_names_the_notebooks_message(run_cells):
    """`with out:` names the notebook's own message, whose outputs are captured; its errors are shown."""
    source = "import ipywidgets\nout = ipywidgets.Output()\nwith out:\n    print('in')\n    1/0\n'after'"
    reports = run_cells({"source": source, "parent": {"header": {"msg_id": "m7"}}})
    updates = [
        one["data"]["state"]["msg_id"] for one in reports.of(1, "CommMessage") if one["kind"] == "comm_msg"
    ]
    assert updates == ["m7", ""]
    kinds = [one["what"] for one in reports.of(1)]
    assert kinds.index("Stream") > kinds.index("CommMessage")
    assert [one["type_name"] for one in reports.of(1, "ShownError")] == ["ZeroDivisionError"]
    assert reports.done(1)["value"] == "'after'"


def test_closing_the_session_closes_widgets(run_cells):
    """close_all tells the front end that the widgets are dead."""
    reports = run_cells(
        "import ipywidgets\nslider = ipywidgets.IntSlider()", "get_ipython().comms.close_all()"
    )
    opened = {one["comm_id"] for one in reports.of(1, "CommMessage")}
    closed = {one["comm_id"] for one in reports.of(2, "CommMessage") if one["kind"] == "comm_close"}
    assert opened == closed


def test_unknown_messages_do_nothing(run_cells):
    """A message for a comm that is gone is ignored."""
    source = """
from rpc_magic.wire.messages import CommMessage
for kind in ("comm_msg", "comm_close", "comm_open"):
    get_ipython().comms.handle(CommMessage(kind, "gone", {}, {}, target="nobody"))
"""
    assert run_cells(source).done(1)["error"] is None
