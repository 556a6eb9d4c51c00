"""Installing libraries where a session runs, into an environment of the server's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from rpc_magic.runtime import launch

TIMEOUT = 60 * float(os.environ.get("RPC_MAGIC_TEST_TIME_FACTOR", "1"))  # seconds


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment's Python that has pip, and finds the packages of this one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=TIMEOUT)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "outer.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin" / "python"


@pytest.fixture
def server(environment: Path) -> Iterator[SimpleNamespace]:
    """A server that runs in that environment."""
    process = subprocess.Popen(
        [environment, "-m", "rpc_magic", "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=launch.environment(),
    )
    assert process.stdout is not None
    yield SimpleNamespace(url=process.stdout.readline().split()[-1], process=process)
    process.send_signal(signal.SIGTERM)
    process.wait(TIMEOUT)
    process.stdout.close()


def wheel(folder: Path, version: str, name: str = "tiny_library") -> Path:
    """Write a library as pip installs them."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", f"__version__ = {version!r}\n")
        info = f"{name}-{version}.dist-info"
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def keeper_of(notebook: Any, name: str) -> int:
    code = f"%%rpc_call -s {name}\nimport os\nprint(os.getppid())"
    return int(notebook.good(code).out)


def test_a_library_is_installed_and_the_next_session_has_it(loaded: Any, server: Any, tmp_path: Path) -> None:
    """It is missing, installed, imported; a newer one is for the next session, whose keeper is a fresh one."""
    loaded.good(f"%rpc_connect {server.url} --name first")
    missing = loaded.run("%%rpc_call\nimport tiny_library")
    assert missing.error == "ModuleNotFoundError"
    assert "%rpc_pip -s first install tiny_library" in missing.traceback
    shown = loaded.good(f"%rpc_pip install --no-index {wheel(tmp_path, '1.0')}").out
    assert "Successfully installed tiny" in shown
    assert loaded.good("%%rpc_call\nimport tiny_library\nprint(tiny_library.__version__)").out == "1.0\n"
    shown = loaded.good(f"%rpc_pip -s first install --no-index '{wheel(tmp_path, '2.0')}'").out
    assert "tiny_library: imported already" in shown
    assert "%rpc_restart" in shown
    older = keeper_of(loaded, "first")
    loaded.good(f"%rpc_connect {server.url} --name second")
    assert loaded.good("%%second\nimport tiny_library\nprint(tiny_library.__version__)").out == "2.0\n"
    assert keeper_of(loaded, "second") != older
    assert loaded.good("%%first\nimport tiny_library\nprint(tiny_library.__version__)").out == "1.0\n"
    loaded.good("%rpc_disconnect first")
    deadline = time.monotonic() + TIMEOUT
    while psutil.pid_exists(older):
        assert time.monotonic() < deadline, "the older keeper has not ended with its last session"
        time.sleep(0.02)
    assert loaded.good("%second 1 + 1").result == "2"
    assert loaded.run("%rpc_pip -s second install no-such-library --no-index").error == "UsageError"


def test_a_restart_has_the_new_version(loaded: Any, server: Any, tmp_path: Path) -> None:
    """The session keeps its name, and its process comes from a fresh keeper."""
    loaded.good(f"%rpc_connect {server.url} --name lab --session work")
    before = keeper_of(loaded, "lab")
    loaded.good(f"%rpc_pip install --no-index {wheel(tmp_path, '3.0', 'small_library')}")
    loaded.good("%rpc_restart")
    assert loaded.good("%%lab\nimport small_library\nprint(small_library.__version__)").out == "3.0\n"
    assert keeper_of(loaded, "lab") != before


def test_completion(loaded: Any) -> None:
    """What pip can do is completed."""
    assert loaded.ask(complete="%rpc_pip unin").matches == ["uninstall"]
