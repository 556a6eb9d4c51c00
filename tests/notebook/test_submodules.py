"""``import a.b`` binds `a` and means both, wherever the next cell runs."""

from __future__ import annotations

from typing import Any

CELL = "wsgiref.simple_server.__name__, xml.sax.saxutils.__name__"
SHOWN = "('wsgiref.simple_server', 'xml.sax.saxutils')"


def test_parts_of_packages_imported_here(notebook: Any) -> None:
    """A remote cell, and a function that it calls, have them; so they have one that was imported later."""
    notebook.good("import wsgiref, json")
    assert notebook.run("%%rpc_call\nwsgiref.no_such_part").error == "AttributeError"
    notebook.good("import wsgiref.simple_server, xml.sax.saxutils  # two")
    assert notebook.good(f"%%rpc_call\n{CELL}").result == SHOWN
    notebook.good("import xml.dom.pulldom\ndef later(): return xml.dom.pulldom.__name__")
    assert notebook.good("%%rpc_call\nlater()").result == "'xml.dom.pulldom'"


def test_parts_of_packages_imported_there(notebook: Any) -> None:
    """A local cell has them, where the package was imported here and where it was not."""
    forget = (
        "for name in [n for n in sys.modules if n.startswith(('wsgiref', 'xml.sax'))]: del sys.modules[name]"
    )
    notebook.good(f"import sys\n{forget}")
    notebook.good("%%rpc_call\nimport wsgiref.simple_server\nif True:\n    import xml.sax.saxutils")
    assert notebook.good(CELL).result == SHOWN
