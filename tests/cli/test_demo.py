"""``rpc-magic demo``: as a page, and in JupyterLab."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from rpc_magic.cli import demo, main

Write = Callable[..., None]


@pytest.fixture
def write_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Let the demo be a notebook of these cells."""
    monkeypatch.setenv("JUPYTER_PATH", "")

    def write(*cells: str) -> None:
        content = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_markdown_cell("# Title"), *map(nbformat.v4.new_code_cell, cells)]
        )
        path = tmp_path / "small.ipynb"
        nbformat.write(content, path)
        monkeypatch.setattr(demo, "_find_notebook", lambda _: path)

    return write


def test_page(write_demo: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--execute` prints a line a cell, writes text and pictures to the page, and says where it is."""
    write_demo(
        "import rpc_magic\nwith rpc_magic.connect() as conn:\n    print('six times', conn.call(eval, '6 * 7'))",
        "%%time\nimport os; os.path.basename(os.getcwd())",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()",
    )
    page = tmp_path / "report.html"
    assert main(["demo", "--execute", str(page)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\[1/3\] import rpc_magic \.\.\. \d+\.\d s", lines[0])
    assert lines[1].startswith("[2/3] %%time import os; os.path.basename")
    assert lines[3:] == [f"The page is {page}"]
    text = page.read_text("utf-8")
    assert "six times 42" in text
    assert "rpc-magic-demo-" in text, "it runs in a folder of its own"
    assert "data:image/png;base64," in text


def test_cell_that_fails(write_demo: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A cell that fails ends the run with status 1; the page is written, with what went before and the error."""
    write_demo("print(6 * 111)", "1 / 0", "print('not' + 'reached')")
    page = tmp_path / "report.html"
    assert main(["demo", "--execute", str(page)]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[1:] == ["[2/3] 1 / 0 ... failed", f"The page is {page}"]
    assert err == "rpc-magic: cell 2 failed: ZeroDivisionError: division by zero\n"
    text = page.read_text("utf-8")
    assert "666" in text
    assert "ZeroDivisionError" in text
    assert "notreached" not in text


def test_kernel_that_dies(write_demo: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A kernel's death is told in one sentence, and the page is written."""
    write_demo("print(6 * 111)", "import os\nos._exit(7)")
    page = tmp_path / "report.html"
    assert main(["demo", "--execute", str(page)]) == 1
    assert "rpc-magic: cell 2 failed: its kernel has died\n" in capsys.readouterr().err
    assert "666" in page.read_text("utf-8")


def test_missing_packages(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without what the demo needs, one sentence says what is missing and how to get it."""
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in {"jupyterlab", "pandas"} else real(name)
    )
    assert main(["demo"]) == 2
    err = capsys.readouterr().err
    assert err == (
        "rpc-magic: the demo needs jupyterlab, pandas; "
        "install what it needs with: pip install 'rpc_magic[demo]'\n"
    )


def wait_for_port(port: int, timeout: float) -> None:
    """Jupyter prints its address a moment before it listens."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"nothing listens at port {port}")


def test_lab(tmp_path: Path, time_factor: float) -> None:
    """`demo` is JupyterLab on a copy of the notebook in a fresh folder, with kernels of this very Python."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "XDG_"))}
    environ |= {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "rpc_magic", "demo", "--no-browser", "--port", "0"]
    with subprocess.Popen(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line)
                if found := re.search(
                    r"http://127\.0\.0\.1:(\d+)/lab/tree/quickstart\.ipynb\?token=(\w+)", line
                ):
                    break
            else:
                pytest.fail("".join(lines))
            port, token = found.groups()
            wait_for_port(int(port), 60 * time_factor)

            def get(path: str) -> dict:
                headers = {"Authorization": f"token {token}"}
                request = urllib.request.Request(f"http://127.0.0.1:{port}/api/{path}", headers=headers)
                opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
                with opener.open(request, timeout=60 * time_factor) as answer:
                    return json.load(answer)

            assert get("contents/quickstart.ipynb")["type"] == "notebook"
            assert get("kernelspecs")["kernelspecs"]["python3"]["spec"]["argv"][0] == sys.executable
            assert len(list(tmp_path.glob("rpc-magic-demo-*/quickstart.ipynb"))) == 1
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60 * time_factor)
