"""Cells in mixed order, here and on two servers, show what they show in one plain shell."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator

import pytest

from tests.notebook.conftest import Notebook
from tests.notebook.mixed_programs import Cell, program, smaller

SECONDS = 20.0
PROGRAMS = 60
"""Random programs, and time for them; ``RPC_MAGIC_TEST_PROGRAMS=FIRST:COUNT`` runs others, without a limit of time."""
LENGTH = 8
"""Cells of a program after those that make its variables."""
FRESH = 60
"""Programs after which the shells are started anew."""


class Pair:
    """A plain shell and one with the extension, connected to two servers."""

    def __init__(self) -> None:
        self._shells: list[Notebook] = []

    def start(self) -> None:
        """Start both, in place of those that run."""
        self.close()
        self._shells = [Notebook(), Notebook()]
        self._shells[1].good("%load_ext rpc_magic")
        for name in ("one", "two"):
            self._shells[1].good(f"%rpc_connect --no-widget --name {name}")

    def close(self) -> None:
        """End both."""
        for shell in self._shells:
            shell.close()
        self._shells = []

    def difference(self, cells: list[Cell]) -> str:
        """Run a program in both; say what was shown differently, or nothing."""
        plain, mixed = self._shells
        for shell in self._shells:
            shell.good("%reset -f")
        mixed.good("%rpc_restart one\n%rpc_restart two")
        for number, cell in enumerate(cells):
            plain.start(cell.text)
            there = mixed.run(cell.placed)
            here = plain.report()
            if (here.error or "").endswith("Warning"):
                return ""  # filters of warnings are each side's own
            if (here.out, here.error) != (there.out, there.error):
                return (
                    f"cell {number}\nplain: {here.error or ''} {here.message}\n{here.out}\n"
                    f"mixed: {there.error or ''} {there.message}\n{there.out}"
                )
        return ""

    def smallest(self, cells: list[Cell], seconds: float) -> list[Cell]:
        """Make a program that shows a difference as small as can be done in a time."""
        deadline = time.monotonic() + seconds
        found = True
        while found and time.monotonic() < deadline:
            found = False
            for one in smaller(cells):
                if self.difference(one):
                    cells, found = one, True
                    break
                if time.monotonic() > deadline:
                    break
        return cells


def told(cells: list[Cell], difference: str) -> str:
    """Return a program and its difference as text."""
    return (
        "\n".join([f"# --- {number}\n{cell.placed}" for number, cell in enumerate(cells)]) + f"\n{difference}"
    )


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Both shells."""
    both = Pair()
    both.start()
    yield both
    both.close()


def test_random_programs(pair: Pair) -> None:
    """Whatever cells do to what names share, each shows what it shows in one plain shell."""
    wanted = os.environ.get("RPC_MAGIC_TEST_PROGRAMS", "")
    first, count = map(int, wanted.split(":")) if wanted else (0, PROGRAMS)
    deadline = float("inf") if wanted else time.monotonic() + SECONDS
    for seed in range(first, first + count):
        if time.monotonic() > deadline:
            break
        if seed > first and (seed - first) % FRESH == 0:
            pair.start()
        cells = program(random.Random(seed), LENGTH)
        if pair.difference(cells):
            pair.start()
            cells = pair.smallest(cells, 3 * SECONDS)
            raise AssertionError(f"program {seed}:\n{told(cells, pair.difference(cells))}")
