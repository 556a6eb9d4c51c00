"""Outputs: what belongs to which call, order, batches, and the streams that programs see."""

from __future__ import annotations

import threading

import pytest

from rpc_magic.wire import messages
from rpc_magic.worker.output import LARGEST_BATCH, LARGEST_TEXT, Outputs
from rpc_magic.worker.streams import RoutedStream


class Sink:
    """Keeps what it is given."""

    def __init__(self):
        self.taken = []

    def __call__(self, call, message, buffers):
        self.taken.append((call, message))

    @property
    def texts(self):
        return [(call, message.name, message.text) for call, message in self.taken]


@pytest.fixture
def sink():
    return Sink()


@pytest.fixture
def outputs(sink):
    """Outputs that have not taken the process over: nothing leaves by itself."""
    return Outputs(sink, lambda call, prompt, password: f"{call}{prompt}{password}")


def test_texts_join(outputs, sink):
    """Texts of one call and stream that follow each other leave as one message."""
    with outputs.call(7):
        for part in ("a", "b", "\n"):
            outputs.write("stdout", part)
        outputs.write("stderr", "e")
        outputs.write("stdout", "c")
        assert sink.taken == []
    assert sink.texts == [(7, "stdout", "ab\n"), (7, "stderr", "e"), (7, "stdout", "c")]


def test_display_follows_text(outputs, sink):
    """A display leaves at once, after the text written before it."""
    with outputs.call(1):
        outputs.write("stdout", "before")
        outputs.publish(messages.ClearOutput())
        assert [type(message) for _, message in sink.taken] == [messages.Stream, messages.ClearOutput]


def test_large_text_leaves_at_once(outputs, sink):
    """When enough is pending, nothing waits for the timer."""
    with outputs.call(1):
        outputs.write("stdout", "x" * LARGEST_BATCH)
        assert len(sink.taken) == 1


def test_huge_text_is_split(outputs, sink):
    """One text never makes one message over the limit, and none of it is lost."""
    text = "y" * (2 * LARGEST_TEXT + 5)
    outputs.write("stdout", text)
    assert [len(part) for _, _, part in sink.texts] == [LARGEST_TEXT, LARGEST_TEXT, 5]


def test_surrogates_are_escaped(outputs, sink):
    """Text that UTF-8 cannot carry is shown as its escape instead of failing in the encoder."""
    outputs.write("stdout", "ä\udcff")
    outputs.flush()
    assert sink.texts == [(0, "stdout", "ä\\udcff")]
    messages.encode(sink.taken[0][1])


def test_calls_nest_and_the_last_one_takes_the_rest(outputs, sink):
    """Text belongs to the innermost call; code without a call writes for the last one."""
    with outputs.call(1):
        with outputs.call(2):
            assert outputs.current() == 2
        assert outputs.current() == 1
    assert outputs.current() == 2  # the call that began last


def test_writes_are_whole(outputs, sink):
    """Texts that threads write at the same time never mix within one write."""
    barrier = threading.Barrier(4)

    def work(letter):
        barrier.wait()
        for _ in range(500):
            outputs.write("stdout", letter * 50 + "\n")

    threads = [threading.Thread(target=work, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outputs.flush()
    lines = "".join(text for _, _, text in sink.texts).splitlines()
    assert len(lines) == 2000
    assert {len(line) for line in lines} == {50}
    assert all(len(set(line)) == 1 for line in lines)


def test_stream_is_a_text_stream(outputs, sink):
    """A routed stream has what programs look for, and the real file descriptor."""
    stream = RoutedStream(outputs, "stderr")
    assert (stream.encoding, stream.isatty(), stream.writable(), stream.readable()) == (
        "utf-8",
        False,
        True,
        False,
    )
    assert (stream.fileno(), stream.name, stream.closed) == (2, "stderr", False)
    assert stream.write("abc") == 3
    stream.writelines(["d", "e"])
    stream.close()
    stream.reconfigure(line_buffering=True)
    assert not stream.closed
    assert sink.texts == [(0, "stderr", "abcde")]
    with pytest.raises(TypeError, match="must be str, not bytes"):
        stream.write(b"no")


def test_buffer_takes_bytes_in_any_pieces(outputs, sink):
    """Bytes are shown as the text they are, whatever the pieces they come in."""
    stream = RoutedStream(outputs, "stdout")
    for byte in "aä€😀".encode():
        stream.buffer.write(bytes([byte]))
    stream.buffer.write(b"\xff")
    stream.buffer.flush()
    assert sink.texts == [(0, "stdout", "aä€😀\ufffd")]


def test_asking(outputs, sink):
    """A question goes out after the text before it, for the call that asks."""
    with outputs.call(4):
        outputs.write("stdout", "x")
        assert outputs.ask("name? ", password=True) == "4name? True"
        assert sink.texts == [(4, "stdout", "x")]


def test_order_of_streams(run_cells):
    """Prints to stdout and stderr arrive in the order in which they were made."""
    reports = run_cells("import sys\nfor i in range(3):\n    print(i)\n    print(-i, file=sys.stderr)")
    texts = [(one["name"], one["text"]) for one in reports.of(1, "Stream")]
    assert texts == [
        (name, f"{sign}{i}\n")
        for i in range(3)
        for name, sign in (("stdout", ""), ("stderr", "-" if i else ""))
    ]


def test_first_text_is_live(run_cells):
    """A print leaves within 50 ms though the cell goes on, and so does a later one."""
    source = "import time\nfor _ in range(3):\n    print(time.monotonic())\n    time.sleep(0.2)"
    reports = run_cells("1", source)
    delays = [one["at"] - float(one["text"]) for one in reports.of(2, "Stream")]
    assert len(delays) == 3
    assert sorted(delays)[1] < 0.05  # the median: a loaded machine may delay one


def test_many_prints_are_batched(run_cells):
    """Ten thousand prints become few messages and lose nothing."""
    reports = run_cells("for i in range(10000):\n    print(i)")
    assert reports.text(1) == "".join(f"{i}\n" for i in range(10000))
    assert len(reports.of(1, "Stream")) < 100


def test_threads_belong_to_the_cell_that_started_them(run_cells):
    """A thread's text goes to the cell that started it, also while a later one runs; so do pools."""
    first = """
import threading, time
from concurrent.futures import ThreadPoolExecutor
go = threading.Event()
class Mine(threading.Thread):
    def run(self):
        go.wait()
        print("subclass")
        threading.Thread(target=print, args=("grandchild",)).start()
mine = Mine()
mine.start()
pool = ThreadPoolExecutor(1)
waiting = pool.submit(lambda: (go.wait(), print("pool")))
"""
    reports = run_cells(first, "go.set(); mine.join(); waiting.result(); time.sleep(0.1); print('second')")
    assert sorted(reports.text(1).split()) == ["grandchild", "pool", "subclass"]
    assert reports.text(2) == "second\n"


def test_error_in_a_thread_hides_our_frames(run_cells):
    """An exception in a thread is shown under its cell, without frames of ours."""
    reports = run_cells("import threading\nt = threading.Thread(target=lambda: 1/0)\nt.start(); t.join()")
    text = reports.text(1, "stderr")
    assert "ZeroDivisionError" in text
    assert "rpc_magic/worker" not in text


def test_child_processes_do_not_speak_on_the_connection(run_cells):
    """A forked child's prints go to the real descriptors, as do those of child programs and C code."""
    source = """
import os, subprocess, sys
pid = os.fork()
if pid == 0:
    print("from the fork", flush=True)
    os._exit(0)
os.waitpid(pid, 0)
subprocess.run(["echo", "from a child"], stdout=sys.stdout)
os.write(1, b"from C\\n")
"""
    reports = run_cells({"source": source})
    assert reports.text(1) == ""
    assert reports.raw == "from the fork\nfrom a child\nfrom C\n"


def test_input_and_getpass(run_cells):
    """input() and getpass() ask the user, after the text before them."""
    reports = run_cells(
        "print('hi')\nx = input('name? ')\nimport getpass\ny = getpass.getpass()\nprint(x, y)",
        answers=["Ada", "secret"],
    )
    kinds = [one["what"] for one in reports.of(1)]
    assert kinds == ["Stream", "Question", "Question", "Stream", "Done"]
    assert [(one["prompt"], one["password"]) for one in reports.of(1, "Question")] == [
        ("name? ", False),
        ("Password: ", True),
    ]
    assert reports.text(1) == "hi\nAda secret\n"
