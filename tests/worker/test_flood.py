"""What is shown of a flood: the first lines, the last ones, and how much was left out between."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rpc_magic.wire import messages
from rpc_magic.worker.flood import LATEST, WINDOW, Flood
from rpc_magic.worker.output import Outputs


def text_of(pieces):
    return "".join(text for _, text in pieces)


@pytest.fixture
def shown():
    return []


@pytest.fixture
def outputs(shown):
    """Outputs that keep what they send."""
    return Outputs(lambda call, message, _: shown.append(message), lambda *_: "")


def test_a_million_lines():
    """The first 10,000 and the last 1,000 are kept; the mark counts the rest; little is held meanwhile."""
    flood = Flood(10_000, 10_000_000)
    first = "".join(
        flood.take("stdout", "".join(f"{n}\n" for n in range(start, start + 5000)))
        for start in range(0, 1_000_000, 5000)
    )
    assert first == "".join(f"{n}\n" for n in range(10_000))
    assert sum(len(text) for _, text, _ in flood._held) < 100_000
    (_, mark), *rest = flood.release()
    assert re.fullmatch(r"\n\[989,000 lines \(\d+\.\d MB\) left out; %rpc_config .*\]\n", mark)
    assert text_of(rest) == "".join(f"{n}\n" for n in range(999_000, 1_000_000))


@settings(suppress_health_check=[HealthCheck.too_slow])  # of a busy machine
@given(
    st.lists(st.text(alphabet="ab\n", max_size=30), max_size=40),
    st.integers(0, 12),
    st.integers(0, 60),
)
def test_nothing_is_counted_twice(parts, lines, size):
    """What is shown and what is left out make up what was printed; what is shown is its start and its end."""
    flood = Flood(lines, size)
    first = "".join(flood.take("stdout", part) for part in parts)
    pieces = flood.release()
    text = "".join(parts)
    assert text.startswith(first)
    is_marked = bool(pieces) and "left out" in pieces[0][1]
    last = text_of(pieces[is_marked:])
    assert text.endswith(last)
    if not is_marked:
        assert first + last == text
    if not lines and not size:
        assert first == text
    assert not flood.is_holding


def test_one_line_without_an_end():
    """Text without newlines counts by its size."""
    flood = Flood(100, 1000)
    assert flood.take("stdout", "x" * 5000) == "x" * 1000
    (_, mark), (_, last) = flood.release()
    assert "[3.9 kB left out;" in mark
    assert last == "x" * 100


def test_the_streams_keep_their_order():
    """What both streams show is held in the order in which it came."""
    flood = Flood(10, 1000)
    flood.take("stdout", "first\n" * 10)
    for n in range(3):
        flood.take("stderr", f"e{n}\n")
        flood.take("stdout", f"o{n}\n")
    pieces = flood.release()
    assert pieces[1:] == [("stdout", "o2\n")]
    assert pieces[0][1].startswith("\n[5 lines (15 characters) left out")


def test_it_goes_on():
    """From time to time the latest lines are due; the count begins anew below each mark."""
    now = 0.0
    flood = Flood(10_000, 0, clock=lambda: now)
    flood.take("stdout", "a\n" * 10_000)
    assert flood.due == float("inf")
    flood.take("stdout", "b\n" * 500)
    assert flood.due == WINDOW
    mark, last = flood.release(LATEST)
    assert "[480 lines" in mark[1]
    assert last[1] == "b\n" * LATEST
    assert flood.due == float("inf")
    now = 100.0
    flood.take("stdout", "c\n")
    assert flood.due == 100.0 + WINDOW
    assert flood.release() == [("stdout", "c\n")]


def test_a_call_with_limits(outputs, shown):
    """Its end shows the last lines; other calls have no limits."""
    with outputs.call(1):
        outputs.limit(100, 0)
        for n in range(1000):
            outputs.write("stdout", f"{n}\n")
        outputs.flush()
    outputs.end(1)
    text = "".join(message.text for message in shown)
    assert text.startswith("".join(f"{n}\n" for n in range(100)))
    assert "[890 lines (3.6 kB) left out" in text
    assert text.endswith("\n" + "".join(f"{n}\n" for n in range(990, 1000)))
    shown.clear()
    with outputs.call(2):
        for n in range(1000):
            outputs.write("stdout", f"{n}\n")
    outputs.end(2)
    assert "".join(message.text for message in shown) == "".join(f"{n}\n" for n in range(1000))


def test_what_else_is_shown_comes_below_the_latest_lines(outputs, shown):
    """A display keeps its place among the text around it."""
    with outputs.call(1):
        outputs.limit(10, 0)
        outputs.write("stdout", "a\n" * 500)
        outputs.publish(messages.ClearOutput())
        outputs.write("stdout", "after\n")
    outputs.end(1)
    kinds = [type(message).__name__ for message in shown]
    assert kinds == ["Stream", "Stream", "Stream", "ClearOutput", "Stream"]
    assert "left out" in shown[1].text
    assert shown[-1].text == "after\n"
