"""Fixtures for tests with real servers: a private runtime folder, an embedded server, scripts, sessions."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from live import Script, served

import rpc_magic


@pytest.fixture(scope="session")
def runtime_dir() -> Path:
    """The runtime folder of this test process, whose path is short enough for sockets."""
    return Path(os.environ["RPC_MAGIC_RUNTIME_DIR"])


@pytest.fixture(scope="module")
def conn() -> Iterator[rpc_magic.Connection]:
    """A connection to the embedded server, shared by the tests of a file."""
    with rpc_magic.connect() as connection:
        yield connection


@pytest.fixture
def fresh() -> Iterator[rpc_magic.Connection]:
    """A connection with a session of its own."""
    with rpc_magic.connect() as connection:
        yield connection


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server that runs by itself."""
    with served() as address:
        yield address


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Callable[..., Script]]:
    """Start a Python program in a process of its own."""
    started: list[Script] = []

    def start(text: str, *args: str, **options: tuple[str, ...]) -> Script:
        started.append(Script(text, tmp_path, *args, **options))
        return started[-1]

    yield start
    for one in started:
        one.close()
