"""pip with the session's interpreter."""

from __future__ import annotations

import sys

from rpc_magic.worker.packages import pip


def test_pip_is_this_interpreters(capfd, monkeypatch):
    """What it prints is shown, its status returned; modules that are loaded and did not change are not named."""
    shown = []
    monkeypatch.setattr(sys.stdout, "write", shown.append)
    assert pip(["--version"]) == 0
    text = "".join(shown)
    assert text.startswith("pip ")
    assert f"python {sys.version_info[0]}.{sys.version_info[1]}" in text
    assert "imported already" not in text
    assert pip(["no-such-command"]) != 0
