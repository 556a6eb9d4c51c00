"""Uses the fixtures of the client's tests, and has a server for each file."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
_path = Path(__file__).parents[1] / "client" / "conftest.py"
_spec = importlib.util.spec_from_file_location("rpc_magic_live_fixtures", _path)
assert _spec is not None
assert _spec.loader is not None
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)
runtime_dir, script = (getattr(_fixtures, name) for name in ("runtime_dir", "script"))

from checks import Server, serving  # noqa: E402 - the fixtures set the path
from proxy import Proxy, proxied  # noqa: E402


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that runs by itself."""
    with serving(tmp_path_factory.mktemp("server")) as one:
        yield one


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """A network before it that breaks."""
    with proxied(server.url) as one:
        yield one
