r"""Runs ``!command`` for a session: output live through ``sys.stdout``, Stop ends it.

The command gets a pseudo-terminal for its output, so that it writes by lines and not by blocks of 4 KiB, in columns
and with ``\r\n`` as a notebook's kernel has it, and nothing as its input. It runs in a process group of its own,
which Stop interrupts, and ends if that is not enough.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios

__all__ = ["run_command"]

_PATIENCE = 1.0  # seconds that an interrupted command has to end before it is killed
_LAST_WORDS = 0.1  # seconds for what an ended command wrote to come out of the pseudo-terminal
_ROWS, _COLUMNS = 24, 80  # as a kernel's
_CHUNK = 64 * 1024  # bytes read at once


def run_command(command: str) -> int:
    """Run a shell command, showing what it prints as it prints it.

    Args:
        command: the command's text, for the user's shell.

    Returns:
        Its exit code; minus the signal's number when a signal ended it.

    Raises:
        KeyboardInterrupt: Stop was pressed; the command has ended.
    """
    reader, writer = _open_terminal()
    try:
        process = subprocess.Popen(
            command,
            shell=True,
            executable=os.environ.get("SHELL") or None,
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=writer,
            start_new_session=True,
        )
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    try:
        _show_output(reader, process)
    except BaseException:
        _end(process)
        raise
    finally:
        os.close(reader)
    code = process.wait()
    # A shell reports a signal that ended its command as 128 plus the number.
    return 128 - code if code > 128 else code


def _open_terminal() -> tuple[int, int]:
    """Return the descriptors (to read, to write) of a pseudo-terminal; of a pipe where there is none."""
    try:
        reader, writer = os.openpty()
    except OSError:
        return os.pipe()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    return reader, writer


def _show_output(reader: int, process: subprocess.Popen[bytes]) -> None:
    """Show what arrives until the command has ended and nothing is left; its daemons are not waited for."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    ended = os.pidfd_open(process.pid)
    has_ended = False
    try:
        while True:
            if has_ended:
                readable, _, _ = select.select([reader], [], [], _LAST_WORDS)
            else:
                readable, _, _ = select.select([reader, ended], [], [])
            if reader not in readable:
                if has_ended:
                    break
                has_ended = True
                continue
            try:
                data = os.read(reader, _CHUNK)
            except OSError as error:
                if error.errno != errno.EIO:  # how a pseudo-terminal says that nobody holds its other end
                    raise
                break
            if not data:
                break
            sys.stdout.write(decoder.decode(data))
    finally:
        os.close(ended)
        sys.stdout.write(decoder.decode(b"", final=True))
        sys.stdout.flush()


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            continue
        return
