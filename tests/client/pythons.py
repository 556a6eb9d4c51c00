"""Other versions of Python that can run rpc_magic: found, or made once from those that are installed.

``RPC_MAGIC_PYTHONS`` names interpreters with the dependencies installed, separated as in ``PATH``. Without it those of
``~/.pyenv/versions`` and of ``PATH`` are looked at; one without the dependencies gets an environment of its own, kept
in the temporary folder for the next run, when pip can make it.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["MINORS", "python_of"]

ROOT = Path(__file__).parents[2]
MINORS = [minor for minor in (11, 12, 13) if minor != sys.version_info.minor]
_PROBE = (
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); import numpy, rpc_magic.worker.worker, rpc_magic.notebook.widget; "
    "print(sys.version_info[1])"
)
_SECONDS = 100 * float(os.environ.get("RPC_MAGIC_TEST_TIME_FACTOR", "1"))


def _candidates(minor: int) -> Iterator[str]:
    for path in os.environ.get("RPC_MAGIC_PYTHONS", "").split(os.pathsep):
        if path:
            yield path
    for path in sorted(Path("~/.pyenv/versions").expanduser().glob(f"3.{minor}.*/bin/python")):
        yield str(path)
    found = shutil.which(f"python3.{minor}")
    if found is not None:
        yield found


def _says(python: str, code: str) -> str:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = [python, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        return done.stdout.strip()
    return ""


def _made(python: str, minor: int) -> str:
    """Make an environment with the dependencies for an interpreter; empty when pip cannot."""
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    mark = hashlib.sha256(repr((python, needs)).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir(), f"rpc_magic-pythons-{os.getuid()}", f"3.{minor}-{mark}")
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    made = str(folder / "bin" / "python")
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test processes run at the same time
        if _says(made, _PROBE) == str(minor):
            return made
        pip = [made, "-m", "pip", "install", "--quiet", "--retries", "1", *needs, "numpy"]
        for command in ([python, "-m", "venv", "--clear", str(folder)], pip):
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
        return made if _says(made, _PROBE) == str(minor) else ""


@functools.cache
def _find(minor: int) -> str:
    right = [
        p for p in _candidates(minor) if _says(p, "import sys; print(sys.version_info[1])") == str(minor)
    ]
    for python in right:
        if _says(python, _PROBE) == str(minor):
            return python
    for python in right:
        made = _made(python, minor)
        if made:
            return made
    return ""


def python_of(minor: int) -> str:
    """Return an interpreter of Python 3.`minor` that can run rpc_magic; the test is skipped where there is none."""
    python = _find(minor)
    if not python:
        pytest.skip(f"there is no Python 3.{minor} with the dependencies, and pip could not make one")
    return python
