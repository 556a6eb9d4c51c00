"""The user's own modules in remote cells of a notebook, and edits of them."""

from __future__ import annotations

import pytest


@pytest.fixture
def beside(notebook, tmp_path):
    """A notebook with a folder for modules on its `sys.path`, added after it connected."""
    notebook.good(f"import sys; sys.dont_write_bytecode = True; sys.path.insert(0, {str(tmp_path)!r})")
    yield notebook, tmp_path
    notebook.good(
        f"sys.path.remove({str(tmp_path)!r})\n"
        f"for n in [n for n, m in sys.modules.items() if {str(tmp_path)!r} in str(getattr(m, '__file__', ''))]:\n"
        "    del sys.modules[n]"
    )


def test_a_module_beside_the_notebook(beside):
    """Imported there alone, it is edited; then mentioned here, edited again, and loaded again here."""
    notebook, folder = beside
    file = folder / "mine_cells.py"
    file.write_text("V = 1\ndef f(): return V\nclass C: pass\n")
    assert notebook.good("%%rpc_call\nimport mine_cells\nprint(mine_cells.f())").out == "1\n"
    file.write_text("V = 2\ndef f(): return V\nclass C: pass\n")
    assert notebook.good("%%rpc_call\nimport mine_cells\nprint(mine_cells.f())").out == "2\n"
    assert notebook.good("print(mine_cells.f())").out == "2\n"
    notebook.good("%%rpc_call\nmade = [mine_cells.C()]")
    assert notebook.good("type(made[0]) is mine_cells.C").result == "True"
    file.write_text("V = 3\ndef f(): return V\nclass C: pass\n")
    assert notebook.good("%%rpc_call\nprint(mine_cells.f())").out == "3\n"
    assert notebook.good("import importlib; importlib.reload(mine_cells); print(mine_cells.f())").out == "3\n"
    assert notebook.good("%%rpc_call\nprint(mine_cells.f())").out == "3\n"


def test_autoreload(beside):
    """With %autoreload 2, both sides have the new version, whichever cell is first."""
    notebook, folder = beside
    file = folder / "mine_auto.py"
    file.write_text("def f(): return 1\n")
    notebook.good("%load_ext autoreload\n%autoreload 2")
    notebook.good("from mine_auto import f")
    assert notebook.good("%%rpc_call\nprint(f())").out == "1\n"
    file.write_text("def f(): return 22\n")
    assert notebook.good("%%rpc_call\nprint(f())").out == "22\n"
    assert notebook.good("print(f())").out == "22\n"
    notebook.good("%autoreload 0")


def test_a_class_of_a_module_is_extended_in_a_cell(beside):
    """A base class of the module's, a subclass in a cell, instances both ways."""
    notebook, folder = beside
    (folder / "mine_base.py").write_text("class Base:\n    def who(self): return type(self).__name__\n")
    notebook.good("from mine_base import Base\nclass Sub(Base): pass\nsub = Sub()")
    assert (
        notebook.good("%%rpc_call\nprint(sub.who(), isinstance(sub, Base))\nback = Sub()").out == "Sub True\n"
    )
    assert notebook.good("isinstance(back, Sub) and isinstance(back, Base)").result == "True"


def test_lines_of_functions_from_cells(notebook):
    """A remote traceback shows the lines of functions that were defined in cells here, also behind other errors."""
    notebook.good("def inner():\n    # why\n    raise KeyError(7)")
    notebook.good(
        "def outer():\n    try:\n        inner()\n    except KeyError as e:\n"
        "        raise ValueError(8) from e"
    )
    report = notebook.run("%%rpc_call\nouter()")
    assert report.error == "ValueError"
    assert "raise ValueError(8) from e" in report.traceback
    assert "raise KeyError(7)" in report.traceback
