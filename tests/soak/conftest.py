"""Uses the servers and the breaking network of the fault tests."""

from __future__ import annotations

import sys
from pathlib import Path

_tests = Path(__file__).parents[1]
for _folder in ("faults", "client"):
    sys.path.insert(0, str(_tests / _folder))
sys.path.insert(0, str(Path(__file__).parent))
