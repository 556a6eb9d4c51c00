"""The command line itself: help, versions, and one sentence for what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rpc_magic import __version__
from rpc_magic.cli import main


def heavy_modules(code: str) -> str:
    """Return which of the heavy modules are loaded once `code` has run in a fresh Python."""
    code += "; import sys; print(sorted({'IPython', 'dill', 'pickle', 'numpy'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.splitlines()[-1]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`version` prints the package's version and Python's."""
    assert main(["version"]) == 0
    assert capsys.readouterr().out.startswith(f"rpc_magic {__version__} (Python 3.")


def test_version_is_light() -> None:
    """`version` loads neither IPython nor dill, pickle or numpy."""
    assert heavy_modules("from rpc_magic.cli import main; main(['version'])") == "[]"


def test_serve_is_light() -> None:
    """What `serve` does before it becomes the supervisor loads none of them either."""
    code = (
        "import os, rpc_magic.cli; os.execve = lambda *_: None; rpc_magic.cli.main(['serve', '--port', '0'])"
    )
    assert heavy_modules(code) == "[]"


def test_as_a_module() -> None:
    """`python -m rpc_magic` is the same program."""
    command = [sys.executable, "-m", "rpc_magic", "version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith(f"rpc_magic {__version__} ")


@pytest.mark.parametrize("command", [[], ["serve"], ["demo"]])
def test_help_shows_examples(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` ends with examples."""
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "examples:\n  rpc-magic" in text


WRONG = {
    "no command": ([], "COMMAND"),
    "an unknown command": (["server"], "invalid choice: 'server'"),
    "no port": (["serve", "--port", "http"], "a port is a number from 0 to 65535, not 'http'"),
    "a port out of range": (["serve", "--port", "65536"], "not '65536'"),
    "no threads": (["serve", "--threads", "0"], "a whole number from 1 on, not '0'"),
    "no sessions at all": (["serve", "--max-sessions", "-3"], "a whole number from 1 on, not '-3'"),
    "no lifetime": (["serve", "--session-ttl", "0"], "a number of seconds, more than 0, not '0'"),
    "less than no time": (["serve", "--stop-seconds", "-1"], "a number of seconds, 0 or more, not '-1'"),
    "no number": (["serve", "--orphan-ttl", "nan"], "a number of seconds, 0 or more, not 'nan'"),
    "a limit that is no count": (["serve", "--limit", "calls=4GB"], "a whole number from 1 on, not '4GB'"),
    "a limit that is no size": (["serve", "--limit", "message=0"], "a number with a unit, as 500MB or 8GB"),
    "no TLS for other machines": (
        ["serve", "--host", "0.0.0.0", "--no-tls"],
        "leave out --no-tls, or --host",
    ),
    "TLS and no TLS": (["serve", "--tls", "--no-tls"], "leave out one of them"),
    "a key alone": (["serve", "--tls-key", "k"], "name that too, with --tls-cert"),
    "TLS on a Unix socket": (["serve", "--unix", "s", "--tls"], "needs no TLS"),
    "two places": (["serve", "--unix", "s", "--port", "1"], "leave out --unix, or --host and --port"),
    "nothing to serve": (["serve", "--no-sessions"], "--expose MODULE"),
    "a name that is none": (["serve", "--name", "a b"], "cannot name a server"),
    "no folder": (["serve", "--cwd", "/nowhere/at/all"], "there is no folder /nowhere/at/all"),
    "no token file": (["serve", "--token-file", "/nowhere/t"], "the token file /nowhere/t cannot be read"),
    "no notebook": (["demo", "--notebook", "tour"], "there are: explore, quickstart, socket_rpc"),
    "no place for a page": (["demo", "--execute", "/nowhere/r.html"], "cannot write a page to"),
}


@pytest.mark.parametrize("case", WRONG)
def test_one_sentence(case: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be done is told in one line on standard error, with exit status 2."""
    monkeypatch.setattr("os.execve", lambda *_: pytest.fail("a server was started"))
    arguments, part = WRONG[case]
    try:
        status: object = main(arguments)
    except SystemExit as ended:
        status = ended.code
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert part in err
    assert err.startswith("rpc-magic: ")
    assert err.count("\n") == 1


def test_token_that_others_can_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A token file that others may read is refused before anything listens."""
    path = tmp_path / "token"
    path.write_text("0" * 64)
    path.chmod(0o644)
    assert main(["serve", "--token-file", str(path)]) == 2
    assert "chmod 600" in capsys.readouterr().err
