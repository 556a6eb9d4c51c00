"""The README's examples run, and give what their comments say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
BLOCK = re.compile(r"<!-- (?P<what>[a-z: ]+) -->\n```python\n(?P<code>.*?)```", re.DOTALL)


def blocks(what: str) -> list[str]:
    found = [match["code"] for match in BLOCK.finditer(README) if match["what"] == what]
    assert found, f"README.md has no block {what!r}"
    return found


def promised(code: str) -> list[str]:
    """Return the comments behind calls of print: what they print."""
    return re.findall(r"print\(.*\)  # (.*)", code)


def run(path: Path, code: str, timeout: float) -> list[str]:
    path.write_text(code, "utf-8")
    done = subprocess.run(
        [sys.executable, path], check=False, capture_output=True, text=True, timeout=timeout
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_tutorial(tmp_path: Path, time_factor: float) -> None:
    """The server and the client of the tutorial's example are five lines each, and the sums are right."""
    [server_code], [client_code] = blocks("example: server"), blocks("example: client")
    for code in (server_code, client_code):
        assert len([line for line in code.splitlines() if line]) <= 5
    # The same lines, at an address that no other test can have taken.
    path = tmp_path / "s" if len(str(tmp_path)) < 90 else Path(f"/tmp/rpcm-readme-{tmp_path.stat().st_ino}")
    server_file = tmp_path / "server.py"
    server_file.write_text(server_code.replace("tcp://127.0.0.1:8000", f"unix://{path}"), "utf-8")
    with subprocess.Popen([sys.executable, server_file], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == f"unix://{path}\n"
            client_code = client_code.replace("tcp://127.0.0.1:8000", f"unix://{path}")
            assert run(tmp_path / "client.py", client_code, 60 * time_factor) == promised(client_code)
        finally:
            server.terminate()
            server.wait(30 * time_factor)


def test_plain_python(tmp_path: Path, time_factor: float) -> None:
    """The example in plain Python prints what its comments say."""
    [code] = blocks("example: plain")
    assert len(promised(code)) == 5
    assert run(tmp_path / "plain.py", code, 60 * time_factor) == promised(code)


def test_notebook(tmp_path: Path, time_factor: float) -> None:
    """The cells of the notebook example run one after the other; the local ones see what the remote one made."""
    cells = [nbformat.v4.new_code_cell(code) for code in [*blocks("notebook"), "print(average)"]]
    content = nbformat.v4.new_notebook(cells=cells)
    options = {"resources": {"metadata": {"path": str(tmp_path)}}, "extra_arguments": ["--log-level=ERROR"]}
    NotebookClient(content, timeout=120 * time_factor, kernel_name="python3", **options).execute()
    _, remote, local, _, last = content.cells
    assert remote.outputs[0].text == "2 rows\n"
    assert local.outputs[0].data["text/plain"] in {"799", "np.int64(799)"}
    assert last.outputs[0].text == "781.0\n"
