"""Last words of a process that died, as its user reads them."""

from __future__ import annotations

import threading
from pathlib import Path

import rpc_magic
from rpc_magic.worker.crashes import shorten

OURS = Path(rpc_magic.__file__).parent / "worker"
REPORT = f"""printed before
Fatal Python error: Segmentation fault

Thread 0x00007f5eb4de96c0 (most recent call first):
  File "{OURS}/helper.py", line 76 in _run
  File "{threading.__file__}", line 982 in run

Thread 0x00007f5eb57ff6c0 (most recent call first):
  File "{threading.__file__}", line 327 in wait
  File "{OURS}/output.py", line 226 in _run_flusher

Thread 0x00007f5eb57ff6c1 (most recent call first):
  File "/tmp/mine.py", line 3 in wait
  File "{threading.__file__}", line 982 in run

Current thread 0x00007f5ebec84b80 (most recent call first):
  File "/usr/lib/python3/ctypes/__init__.py", line 519 in string_at
  File "/tmp/ipykernel_5638/3573443503.py", line 4 in <module>
  File "{OURS}/shell.py", line 215 in run_code
  File "/site-packages/IPython/core/interactiveshell.py", line 3762 in run_ast_nodes

Extension modules: msgspec._core, numpy.random._mt19937 (total: 2)
printed afterwards"""


def test_stacks_end_with_the_users_code() -> None:
    """What the user's threads do is there; what lies below it, and threads of ours, are not."""
    assert (
        shorten(REPORT)
        == f"""printed before
Fatal Python error: Segmentation fault

Thread 0x00007f5eb57ff6c1 (most recent call first):
  File "/tmp/mine.py", line 3 in wait
  File "{threading.__file__}", line 982 in run

Current thread 0x00007f5ebec84b80 (most recent call first):
  File "/usr/lib/python3/ctypes/__init__.py", line 519 in string_at
  File "/tmp/ipykernel_5638/3573443503.py", line 4 in <module>

printed afterwards"""
    )


def test_a_fault_of_ours_is_shown_whole() -> None:
    """Where no code of the user's ran in the thread that died, its stack is all there is to know."""
    report = f'Current thread 0x1 (most recent call first):\n  File "{OURS}/line.py", line 1 in send'
    assert shorten(report) == report


def test_other_words_are_left_alone() -> None:
    """Most sessions that die say something else, or nothing."""
    assert shorten("one\n\n  two") == "one\n\n  two"
    assert shorten("") == ""
