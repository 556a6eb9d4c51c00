"""The public names, and how little `import rpc_magic` loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import rpc_magic
from rpc_magic import errors

FOLDER = Path(rpc_magic.__file__).parent

HEAVY = [
    "dill",
    "pickle",
    "_pickle",
    "numpy",
    "IPython",
    "asyncio",
    "msgspec",
    "socket",
    "threading",
    "multiprocessing",
    "concurrent.futures",
    "logging",
    "subprocess",
    "ipywidgets",
    "psutil",
    "tqdm",
]


def run(code: str) -> str:
    """Run Python code in a fresh process that is like a user's, and return what it prints."""
    # -I -S: neither the environment nor site-packages' startup files load anything of their own.
    code = f"import sys; sys.path.insert(0, {str(FOLDER.parent)!r})\n{code}"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_is_what_has_a_home() -> None:
    """`__all__` is exactly the names with a home, and the version; sorted, nothing twice."""
    assert set(rpc_magic.__all__) == {*rpc_magic._HOME, "__version__"}
    assert len(rpc_magic.__all__) == len(set(rpc_magic.__all__))
    assert rpc_magic.__dir__() == sorted(rpc_magic.__all__)


def test_type_checkers_see_the_same_names() -> None:
    """The imports for type checkers name the same things from the same homes."""
    tree = ast.parse((FOLDER / "__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: str(node.module).removeprefix("rpc_magic.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == rpc_magic._HOME


def test_every_error_is_public() -> None:
    """Every error of the errors module is a public name of the package, and the same object."""
    assert {name for name, home in rpc_magic._HOME.items() if home == "errors"} == set(errors.__all__)
    for name in errors.__all__:
        assert getattr(rpc_magic, name) is getattr(errors, name)


@pytest.mark.parametrize("home", sorted(set(rpc_magic._HOME.values())))
def test_every_name_is_at_home(home: str) -> None:
    """Each public name is found where it is said to be."""
    for name in (name for name, where in rpc_magic._HOME.items() if where == home):
        assert getattr(rpc_magic, name) is getattr(sys.modules[f"rpc_magic.{home}"], name)


def test_unknown_name() -> None:
    """A name that is not public is an AttributeError that says so."""
    with pytest.raises(AttributeError, match="module 'rpc_magic' has no attribute 'nothing'"):
        rpc_magic.nothing  # noqa: B018 - the access is the test


def test_version() -> None:
    """The version is a text that begins with numbers."""
    assert rpc_magic.__version__.split(".")[0].isdigit()


def test_import_is_light() -> None:
    """`import rpc_magic` loads itself and its version, and none of the heavy modules."""
    loaded = run(
        "before = set(sys.modules)\nimport rpc_magic\nprint(*sorted(set(sys.modules) - before), sep='\\n')"
    ).split()
    assert [name for name in loaded if name.startswith("rpc_magic")] == ["rpc_magic", "rpc_magic._version"]
    assert not [name for name in loaded if name in HEAVY]


def test_import_of_errors_is_light() -> None:
    """A name of the errors module loads that module only."""
    loaded = run("import rpc_magic\nrpc_magic.LimitError\nprint(*sys.modules, sep='\\n')").split()
    assert not [name for name in loaded if name in HEAVY]


def test_wire_and_transport_load_no_pickle() -> None:
    """What the supervisor stands on loads no pickle, dill, numpy or IPython."""
    site = Path(find_spec("msgspec").origin).parents[1]  # type: ignore[union-attr, arg-type]
    loaded = run(
        f"sys.path.append({str(site)!r})\n"
        "import rpc_magic.transport, rpc_magic.settings\n"
        "from rpc_magic.wire import control, frames, handshake, internal, messages\n"
        "print(*sys.modules, sep='\\n')"
    ).split()
    assert not {"pickle", "_pickle", "dill", "numpy", "IPython", "asyncio"} & set(loaded)


def test_import_does_nothing() -> None:
    """Importing the package starts no thread and registers nothing."""
    out = run(
        "import threading\nbefore = [*sys.meta_path, sys.excepthook, sys.displayhook]\nimport rpc_magic\n"
        "print(threading.active_count(), before == [*sys.meta_path, sys.excepthook, sys.displayhook])"
    )
    assert out.split() == ["1", "True"]
