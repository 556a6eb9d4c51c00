"""Messages over the limit: texts are cut with a mark, what would be broken by that is left out, and it always fits."""

from __future__ import annotations

import pytest

from rpc_magic.settings import WireLimits
from rpc_magic.wire import messages
from rpc_magic.worker import cutting
from rpc_magic.worker.cutting import encode_fitting

LONG = "x" * 5000


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "_LIMIT", 4000)
    monkeypatch.setattr(cutting, "_TEXT", 1000)


def told(message: messages.Message) -> messages.Answer:
    encoded = encode_fitting(message)
    assert len(encoded) <= 4000
    return messages.decode_answer(encoded)


def test_the_limit_is_that_of_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fits into a frame is never cut."""
    monkeypatch.undo()
    assert WireLimits().message == cutting._LIMIT
    message = messages.Stream("stdout", LONG * 100)
    assert messages.decode_answer(encode_fitting(message)) == message


def test_an_output() -> None:
    """The text is cut, HTML and pictures are left out, small parts are kept."""
    data = {"text/plain": LONG, "text/html": LONG, "image/png": LONG.encode(), "text/latex": "$x$"}
    shown = told(messages.ExecuteResult(data, {"isolated": True}, 5))
    assert list(shown.data) == ["text/plain", "text/latex"]
    assert shown.data["text/plain"].startswith("x" * 1000 + "\n[4,000 characters are left out")
    assert (shown.metadata, shown.execution_count) == ({"isolated": True}, 5)


def test_an_outcome() -> None:
    """A cell's end keeps its facts, whatever its value's text or its error's is like."""
    value = messages.ValueInfo("v1", "Long", bundle={"text/plain": LONG, "text/html": LONG})
    done = told(messages.CellDone(3, 1.5, has_value=True, value=value, kept={"a": value}, deleted=("b",)))
    assert (done.execution_count, done.duration, done.deleted, done.value.key) == (3, 1.5, ("b",), "v1")
    assert list(done.kept["a"].bundle) == ["text/plain"]
    failed = told(messages.Failed(messages.ErrorRecord("error", "ValueError", LONG, LONG, (LONG,))))
    assert failed.error.type_name == "ValueError"
    assert "left out" in failed.error.message


def test_what_cannot_be_cut() -> None:
    """Many small parts: an output is told to be left out, a call ends with an error."""
    many = tuple(f"name number {n}" for n in range(1000))
    assert "left out" in told(messages.CommMessage("comm_msg", "x", {"many": many}, {})).text
    failed = told(messages.Completions(many, 0, 1))
    assert failed.error.message.startswith("15,897 bytes are left out")
