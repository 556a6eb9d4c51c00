"""The record of a notebook's last calls, and their output as a notebook's outputs."""

from __future__ import annotations

from rpc_magic.notebook.calllog import CallLog, title_of
from rpc_magic.notebook.panels import _outputs
from rpc_magic.wire import messages


def test_states() -> None:
    """Each end has its word; whoever watches is told of beginnings and ends."""
    told: list[None] = []
    log = CallLog(lambda: told.append(None))
    records = [log.begin(title, lambda: None) for title in "abcd"]
    records[0].end()
    records[1].end(ValueError())
    records[2].end(KeyboardInterrupt())
    records[3].end(is_cancelled=True)
    assert [record.state for record in log.latest()] == ["cancelled", "interrupted", "failed", "done"]
    assert len(told) == 8
    ended = records[0].seconds
    assert records[0].seconds == ended


def test_the_oldest_are_forgotten() -> None:
    """Their number has a limit."""
    log = CallLog()
    for number in range(200):
        log.begin(str(number), lambda: None)
    titles = [record.title for record in log.latest()]
    assert titles == [str(number) for number in range(199, 149, -1)]


def test_output_again() -> None:
    """Neighbouring text is one output; an update takes the place of what it updates; a clear forgets."""
    record = CallLog().begin("x", lambda: None)
    record.keep(messages.Stream("stdout", "old"))
    record.keep(messages.ClearOutput())
    record.keep(messages.Stream("stdout", "a"))
    record.keep(messages.Stream("stdout", "b"))
    record.keep(messages.Display({"text/plain": "0 %"}, {}, {"display_id": "d"}))
    record.keep(messages.Stream("stderr", "c"))
    record.keep(messages.Display({"text/plain": "100 %"}, {}, {"display_id": "d"}, update=True))
    record.keep(messages.ExecuteResult({"text/plain": "42"}, {}, 3, is_value=True))
    record.keep(messages.ShownError("E", "e", ("line",)))
    record.keep(messages.InputRequest("?"))
    assert _outputs(record) == [
        {"output_type": "stream", "name": "stdout", "text": "ab"},
        {"output_type": "display_data", "data": {"text/plain": "100 %"}, "metadata": {}},
        {"output_type": "stream", "name": "stderr", "text": "c"},
        {"output_type": "display_data", "data": {"text/plain": "42"}, "metadata": {}},
        {"output_type": "error", "ename": "E", "evalue": "e", "traceback": ["line"]},
    ]


def test_much_output_is_cut() -> None:
    """What is kept of one call has a limit, and says so; what showed nothing says that too."""
    record = CallLog().begin("x", lambda: None)
    assert _outputs(record)[0]["text"] == "it showed nothing\n"
    for _ in range(3):
        record.keep(messages.Stream("stdout", "x" * 600_000))
    assert [len(output["text"]) for output in _outputs(record)] == [600_000, len("\nmore was shown\n")]


def test_titles() -> None:
    """The first line that says something, cut."""
    assert title_of("\n\n  a = 1\nb") == "a = 1"
    assert title_of("") == "cell"
    assert len(title_of("x" * 100)) == 40
