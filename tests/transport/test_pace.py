"""When compressing pays: on links that are slow and far, never near."""

from __future__ import annotations

import pytest

from rpc_magic.transport import pace
from rpc_magic.transport.pace import Pace


@pytest.mark.parametrize(
    ("is_far", "sent", "seconds", "is_slow"),
    [
        (True, 50_000_000, 1.0, True),
        (True, 500_000_000, 1.0, False),
        (True, 1000, 1.0, False),
        (False, 50_000_000, 1.0, False),
    ],
)
def test_slow(
    monkeypatch: pytest.MonkeyPatch, is_far: bool, sent: int, seconds: float, is_slow: bool
) -> None:
    """It needs distance, a pace below that of compression, and enough bytes to tell."""
    now = [100.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    one = Pace(is_far=is_far)
    now[0] += seconds
    assert one.is_slow(sent) is is_slow
