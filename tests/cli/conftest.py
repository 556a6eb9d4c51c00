"""Servers started as a user starts them: ``rpc-magic serve``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Serve = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.fixture
def serve(tmp_path: Path, time_factor: float) -> Iterator[Serve]:
    """Start a server; return its process and the first line it printed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, foreground: bool = False) -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-m", "rpc_magic", "serve", *arguments]
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0 if foreground else None,
        )
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=30 * time_factor)
