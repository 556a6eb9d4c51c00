"""Uses the fixtures of the client's tests: real servers, scripts, sessions."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_path = Path(__file__).parents[1] / "client" / "conftest.py"
_spec = importlib.util.spec_from_file_location("rpc_magic_live_fixtures", _path)
assert _spec is not None
assert _spec.loader is not None
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)
runtime_dir, conn, fresh, url, script = (
    getattr(_fixtures, name) for name in ("runtime_dir", "conn", "fresh", "url", "script")
)
