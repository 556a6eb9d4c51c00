"""Whether the server is still there: pings, and what to make of their silence.

Packets may vanish without a word, and a machine may sleep: then nothing tells that a connection is gone but that
nothing comes. Time is taken from a clock that goes on while the machine sleeps, where there is one.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rpc_magic.settings import ClientSettings

__all__ = ["Heartbeat", "clock"]

_GAP = 3.0
"""Seconds between two beats over which this process has not run: the machine slept, or the process was stopped."""


def clock() -> float:
    """Return seconds that pass also while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Heartbeat:
    """See the module's text. `beat` is to be called about every second.

    Args:
        settings: its times.
        ping: asks the server for an answer.
        cut: takes the connection for gone.
        now: the clock.
    """

    def __init__(
        self,
        settings: ClientSettings,
        ping: Callable[[], object],
        cut: Callable[[], None],
        now: Callable[[], float] = clock,
    ) -> None:
        self._settings, self._ping, self._cut, self._now = settings, ping, cut, now
        self._beaten = self._pinged = self._heard = now()
        self._patience = settings.silent_seconds

    def heard(self) -> None:
        """Something has come from the server."""
        self._heard, self._patience = self._now(), self._settings.silent_seconds

    def beat(self) -> None:
        """Ping when it is time; cut a connection that has been silent for too long."""
        now = self._now()
        has_slept, self._beaten = now - self._beaten > _GAP + self._settings.beat_seconds, now
        if has_slept:
            # What came meanwhile is read first; then the server has little time to say that it is there.
            self._heard, self._patience = now, self._settings.awake_seconds
        if has_slept or now - self._pinged >= self._settings.beat_seconds:
            self._pinged = now
            self._ping()
        elif now - self._heard > self._patience:
            self.heard()
            self._cut()
