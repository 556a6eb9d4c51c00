"""``sys.stdout`` and ``sys.stderr`` of a session, as programs see them."""

from __future__ import annotations

import codecs
import io
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rpc_magic.worker.output import Outputs

__all__ = ["DESCRIPTORS", "RoutedStream"]

DESCRIPTORS = {"stdout": 1, "stderr": 2}
"""The file descriptors that child processes and C code write to."""


class RoutedStream(io.TextIOBase):
    """``sys.stdout`` or ``sys.stderr`` of a session.

    Args:
        outputs: where text goes.
        name: "stdout" or "stderr".
    """

    encoding = "utf-8"
    errors = "backslashreplace"
    newlines = None
    line_buffering = True
    write_through = False

    def __init__(self, outputs: Outputs, name: str) -> None:
        super().__init__()
        self.name = name
        self.mode = "w"
        self._outputs = outputs
        self._write = outputs.write
        self.buffer = _RoutedBuffer(self)

    def write(self, text: str, /) -> int:
        """Show text; the answer is its length."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if text:
            self._write(self.name, text)
        return len(text)

    def writelines(self, lines: Iterable[Any], /) -> None:
        """Show texts."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Send what is pending."""
        self._outputs.flush()

    def writable(self) -> bool:
        """Return True."""
        return True

    def isatty(self) -> bool:
        """Return False: no terminal."""
        return False

    def fileno(self) -> int:
        """Return the real file descriptor, for child processes and C code."""
        return DESCRIPTORS[self.name]

    def close(self) -> None:
        """Only flush: a session's streams live as long as it does."""
        self.flush()

    def reconfigure(self, **_: object) -> None:
        """Accept and ignore what programs set on ``sys.stdout``."""


class _RoutedBuffer(io.BufferedIOBase):
    """The ``buffer`` of a routed stream: bytes are shown as the UTF-8 text they are."""

    def __init__(self, stream: RoutedStream) -> None:
        super().__init__()
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._decoding = threading.Lock()

    @property
    def raw(self) -> Any:
        """This object: there is no unbuffered layer below."""
        return self

    def write(self, data: Any, /) -> int:
        """Show bytes; a character that is not complete yet waits for the rest."""
        with self._stream._outputs.gate.masked(), self._decoding:  # noqa: SLF001 - its other half
            data = bytes(data)
            self._stream.write(self._decoder.decode(data))
        return len(data)

    def flush(self) -> None:
        """Send what is pending."""
        self._stream.flush()

    def writable(self) -> bool:
        """Return True."""
        return True

    def isatty(self) -> bool:
        """Return False: no terminal."""
        return False

    def fileno(self) -> int:
        """Return the real file descriptor."""
        return self._stream.fileno()

    def close(self) -> None:
        """Only flush."""
        self.flush()
