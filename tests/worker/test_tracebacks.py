"""Records of errors: what they say of any exception, without a shell."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from rpc_magic.worker.tracebacks import error_record


def raised(error):
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("error", "kind", "name", "message"),
    [
        (ValueError("no"), "error", "ValueError", "no"),
        (KeyboardInterrupt(), "interrupt", "KeyboardInterrupt", ""),
        (SystemExit(2), "exit", "SystemExit", "2"),
        (StopIteration(5), "stop", "StopIteration", "5"),
        (GeneratorExit(), "generator_exit", "GeneratorExit", ""),
        (
            json.JSONDecodeError("bad", "doc", 1),
            "error",
            "json.decoder.JSONDecodeError",
            "bad: line 1 column 2 (char 1)",
        ),
        (asyncio.CancelledError(), "error", "asyncio.exceptions.CancelledError", ""),
    ],
)
def test_kinds(error, kind, name, message):
    """Each kind of exception is named, raised or not."""
    for one in (error, raised(error)):
        record = error_record(one)
        assert (record.kind, record.type_name, record.message, record.rendered) == (kind, name, message, ())
        assert name.rpartition(".")[2] in record.traceback


def test_text_that_cannot_be_made():
    """An exception whose __str__ raises, even SystemExit, gets a text that says so."""

    class BadError(Exception):
        def __str__(self):
            raise SystemExit

        __repr__ = __str__

    record = error_record(raised(BadError()))
    assert record.message == "<the text of this exception could not be made>"
    assert "BadError" in record.traceback


def test_our_frames_are_hidden():
    """Frames inside rpc_magic are not in the record, wherever they are, and others stay."""
    from rpc_magic.worker.output import Outputs

    def sink(call, message, buffers):
        raise ValueError("from below")

    outputs = Outputs(sink, lambda *_: "")
    outputs.write("stdout", "x")
    try:
        outputs.flush()
    except ValueError as error:
        record = error_record(error)
    assert "rpc_magic/worker" not in record.traceback
    assert "in sink" in record.traceback
    assert "test_our_frames_are_hidden" in record.traceback


def test_exceptions_that_contain_themselves():
    """A chain of causes with a loop ends."""
    first, second = ValueError(1), ValueError(2)
    first.__cause__, second.__cause__ = second, first
    assert "ValueError: 1" in error_record(first).traceback


def test_surrogates():
    """Texts of a record can always be sent."""
    record = error_record(raised(ValueError("\udc80")))
    assert record.message == "\\udc80"
    record.traceback.encode()


def test_import_is_possible_without_a_shell():
    """The module works where no shell was made."""
    code = "from rpc_magic.worker.tracebacks import error_record as e; print(e(ValueError('x')).message)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "x\n"
