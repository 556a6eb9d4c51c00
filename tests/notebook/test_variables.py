"""Variables of here and there, listed, fetched, sent and deleted as the widget's tab does it, in a real shell."""

from __future__ import annotations

from typing import Any

SETUP = """
from rpc_magic.notebook import variables as _variables
_rpc = get_ipython()._rpc_magic_extension
_server = _rpc.registry.get(None)
"""
BUSY = """
began = time.monotonic()
print(_variables.list_variables(get_ipython(), _server, _rpc.registry), time.monotonic() - began < 5)
"""
LIST = """
print({v.name: (v.where, v.state) for v in _variables.list_variables(get_ipython(), _server, _rpc.registry)})
"""
LIST = SETUP + LIST


def listed(notebook: Any) -> dict[str, tuple[str, str]]:
    return eval(notebook.good(LIST).out)


def test_where_and_how_they_compare(notebook: Any) -> None:
    """Here, there, both; the same, newer here, newer there; modules and the shell's own names are left out."""
    notebook.good("import math\nalone = 1\nshared = [1, 2]\nedited = [1]\nchanged = [0] * 10\nsame = 'x'")
    notebook.good(
        "%%rpc_call\nimport pandas\nmade = {1, 2}.__class__\nseen = [*shared], [*edited], [*changed], same"
    )
    notebook.good("edited.append(2)")
    notebook.good("%%rpc_call\nchanged.append(object)")
    found = listed(notebook)
    assert found["alone"] == ("here", "")
    assert found["made"] == ("there", "")
    assert found["shared"] == ("both", "same")
    assert found["same"] == ("both", "same")
    assert found["edited"] == ("both", "newer here")
    assert found["changed"] == ("both", "newer there")
    assert not {"math", "pandas", "In", "Out", "exit", "get_ipython"} & found.keys()


def test_extent_and_size(notebook: Any) -> None:
    """A table's shape and size are told in few characters."""
    notebook.good("%%rpc_call\nimport numpy as np\narray = np.zeros((3, 4))")
    code = (
        LIST + "print([(v.kind, v.extent, v.size) for v in _variables.list_variables(get_ipython(), _server, "
    )
    report = notebook.good(code + "_rpc.registry) if v.name == 'array'])")
    assert report.out.splitlines()[-1] == "[('numpy.ndarray', '(3, 4) float64', '96 B')]"


def test_a_busy_session_does_not_answer(notebook: Any) -> None:
    """While it computes there is no list, and nobody waits for it."""
    notebook.good("import time")
    notebook.good("%%rpc_call --noblock\nimport time\ntime.sleep(60)")
    report = notebook.good(SETUP + BUSY)
    assert report.out.strip() == "None True"
    notebook.good("%rpc_interrupt")


def test_fetch_send_delete(notebook: Any) -> None:
    """What the buttons do: a fetched change goes into the object of here; what is deleted there stays here."""
    notebook.good("from rpc_magic.notebook import moving as _moving\nlist_ = [1]\nalias = list_")
    notebook.good("%%rpc_call\nlist_.append(object)\nonly = object")
    notebook.good(LIST + "_moving.fetch(['list_', 'only'], get_ipython(), _server, _rpc.registry)")
    report = notebook.good("print(alias is list_, alias[1] is object, only is object)")
    assert report.out.strip() == "True True True"
    notebook.good("fresh = 7\n_moving.send(['fresh'], get_ipython().user_ns, _server, _rpc.registry)")
    assert listed(notebook)["fresh"] == ("both", "same")
    notebook.good("%%rpc_call\nthere = object")
    notebook.good("_moving.delete(['fresh', 'there'], get_ipython().user_ns, _server)")
    found = listed(notebook)
    assert found["fresh"] == ("here", "")
    assert "there" not in found
