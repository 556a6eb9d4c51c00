"""What the server of the soak test exposes by name."""

from __future__ import annotations

import os
import time

__all__ = ["named"]


def note(ledger: str, number: object) -> None:
    """Write down that a call runs."""
    file = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{number}\n".encode())
    os.close(file)


def named(number: int, given: tuple[str, str]) -> tuple[int, str]:
    """Note the call; take a moment."""
    ledger, text = given
    note(ledger, number)
    time.sleep(0.002)
    return number, text[::-1]
