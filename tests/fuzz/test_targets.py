"""The fuzz targets by Hypothesis: the same invariants in every run of the tests, for a bounded time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2] / "fuzz"))

from run import seeds
from targets import TARGETS, Dice, run

EXAMPLES = {"chunks": 150}
"""Where an input costs more than the others'."""


@pytest.mark.parametrize("name", TARGETS)
def test_any_decisions(name: str) -> None:
    """Invariant of each target, on any bytes."""
    target: Callable[[bytes], None] = TARGETS[name]

    @settings(
        deadline=None,
        max_examples=EXAMPLES.get(name, 400),
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.binary(max_size=300))
    def check(data: bytes) -> None:
        target(data)

    check()


def test_seeds() -> None:
    """What the fuzzer begins with holds, and each target is reached by its first byte."""
    for seed in seeds():
        run(seed)
    assert {seed[0] % len(TARGETS) for seed in seeds()} == set(range(len(TARGETS)))


def test_an_invariant_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that lets another error through is found."""

    def broken(*_: object) -> None:
        raise KeyError("escaped")

    monkeypatch.setattr("rpc_magic.wire.frames._check_start", broken)
    with pytest.raises(KeyError):
        TARGETS["frames"](b"\0\0\1" + b"no frame")


def test_dice() -> None:
    """Decisions are the bytes'; used up, all of them are the first option."""
    dice = Dice(b"\5\1")
    assert (dice.number(4), dice.pick("ab"), dice.pick("ab"), dice.is_used_up) == (1, "b", "a", True)
    assert Dice(b"\7").perhaps(1, 2) == 2
    assert Dice(b"\6").perhaps(1, 2) == 1
