"""What has come for a call and was not taken yet."""

from __future__ import annotations

import queue

import pytest

from rpc_magic.client import events
from rpc_magic.client.events import Events, Held
from rpc_magic.wire import messages

END = messages.Returned(), []


def text(words, stream="stdout"):
    return messages.Stream(stream, words), []


def texts(held):
    return "".join(message.text for message, _ in held if isinstance(message, messages.Stream))


def taken(waiting):
    """Take all that waits."""
    while not waiting.is_empty:
        yield waiting.get(0)


def test_little_is_given_as_it_came():
    """Nothing is left out of what has room."""
    held = Held(1 << 20, "it is too much")
    given = [text("a"), text("b", "stderr"), (messages.Display({}, {}, {}), []), END]
    for event in given:
        held.add(event)
    assert list(held.take()) == given
    assert held.size == 0


def test_the_middle_is_left_out():
    """First and last lines are kept in order, with a mark that says how much is missing; memory is bounded."""
    held = Held(1 << 20, "it is too much")
    for number in range(10_000):
        held.add(text(f"{number:999}\n"))
        assert held.size < 1.1 * (1 << 20)
    first, mark, last = texts(held.take()).partition("left out: it is too much]\n")
    assert mark
    numbers = [int(line) for line in first.splitlines() if line and "[" not in line]
    assert numbers == list(range(len(numbers)))
    assert [int(line) for line in last.splitlines()] == list(range(10_000 - len(last) // 1000, 10_000))
    missing = 10_000 - len(numbers) - len(last) // 1000
    assert f"[{missing / 1000:.1f} MB " in first


def test_questions_and_ends_are_never_left_out():
    """What is no text or display comes whatever is left out around it, in its place."""
    held = Held(1 << 16, "it is too much")
    for number in range(1000):
        held.add(text("x" * 1000))
        if number == 500:
            held.add((messages.InputRequest("?"), []))
    held.add(END)
    given = list(held.take())
    assert given[-1] == END
    kinds = [type(message).__name__ for message, _ in given]
    place = kinds.index("InputRequest")
    assert "left out" in given[place - 1][0].text
    assert "left out" in given[place + 1][0].text


def test_the_last_lines_are_what_a_hurry_leaves():
    """Shortened, the last lines are there in one message behind the mark, and the end."""
    held = Held(1 << 20, "it is too much")
    for number in range(1000):
        held.add(text(f"{number:99}\n"))
    held.add(END)
    held.shorten()
    (shown, _), end = held.take()
    assert end == END
    assert shown.text.endswith(f"{999:99}\n")
    assert shown.text.count("\n") < 50
    assert "left out" in shown.text


def test_shortened_twice():
    """What was left out before is counted in the one mark."""
    held = Held(1 << 20, "it is too much")
    for _ in range(2):
        for _ in range(100):
            held.add(text("x" * 999 + "\n"))
        held.shorten()
    ((shown, _),) = held.take()
    assert "[196.0 kB left out" in shown.text.replace("196 kB", "196.0 kB")


def test_the_caller_waits_already_when_something_is_put():
    """It takes what was there while the next event is put behind it, and waits: it must find that one."""
    waiting, first = Events(), []

    class Taken(queue.SimpleQueue):
        def empty(self):
            is_empty = super().empty()
            if not is_empty and not first:
                first.append(waiting.get(0))
            return is_empty

    waiting._queue = Taken()
    waiting.put(text("1"))
    waiting.put(text("2"))
    assert first == [text("1")]
    assert waiting._queue.get(timeout=0) == text("2")  # where it waits


def test_full_until_half_is_taken():
    """It is full beyond a limit, and tells once when there is room."""
    waiting, told = Events(), []
    waiting.on_room = lambda: told.append(waiting.is_full)
    count = 0
    while not waiting.is_full:
        waiting.put(text("x" * 100_000))
        count += 1
    assert count < 50
    for left in range(count, 0, -1):
        assert waiting.get(0) == text("x" * 100_000)
        assert waiting.is_full == (not told)
        assert bool(told) or left > count // 2 - 2
    assert told == [False]
    with pytest.raises(queue.Empty):
        waiting.get(0)


def test_hurry(monkeypatch):
    """After Stop it is not full, however much comes, and its taker gets the last of it after a moment."""
    monkeypatch.setattr(events, "_HASTE", 0.0)
    waiting, told = Events(), []
    waiting.on_room = lambda: told.append(True)
    while not waiting.is_full:
        waiting.put(text("x" * 100_000))
    waiting.hurry()
    assert told == [True]
    for number in range(1000):
        waiting.put(text(f"{number:100000}\n"))
    assert not waiting.is_full
    waiting.put(END)
    given = list(taken(waiting))
    assert len(given) < 5
    assert given[-1] == END
    assert f"{999:10}\n" in texts(given)


def test_what_comes_late_after_stop_is_all_given(monkeypatch):
    """As after a cut: it came all at once, seconds after Stop, and is taken as fast as can be."""
    now = [100.0]
    monkeypatch.setattr(events.time, "monotonic", lambda: now[0])
    waiting = Events()
    waiting.hurry()
    now[0] += 10.0
    lines = [text(f"{number:1000}\n") for number in range(20)]
    for line in lines:
        waiting.put(line)
    assert list(taken(waiting)) == lines
