"""Many calls in parallel on the server's engine."""

from __future__ import annotations

import concurrent.futures
import contextlib
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from rpc_magic.client.calls import Call
from rpc_magic.client.outcomes import exception_of, value_of
from rpc_magic.errors import ProtocolError, RpcMagicError, TransferError
from rpc_magic.wire import messages
from rpc_magic.wire.handshake import Role

if TYPE_CHECKING:
    from rpc_magic.client.connection import Connection

__all__ = ["Pool"]

_WINDOW = 64
"""Tasks that are under way at once: enough for any engine to stay busy, few enough for endless iterables."""
_CHUNKS = 256
"""Tasks that the calls of one map are divided into, when their number is known."""
_PROGRESS_SECONDS = 1.0
"""A map that takes longer shows its progress in a notebook."""

Items = list[tuple[tuple[Any, ...], dict[str, Any]]]


class Pool(concurrent.futures.Executor):
    """A `concurrent.futures.Executor` on the server's engine; `Connection.pool`.

    Functions run in processes on the server (the local engine), without the session's variables.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Call:
        """Run a function on the engine; see `concurrent.futures.Executor.submit`."""
        return self._start(fn, [(args, kwargs)], lambda results: self._value(results[0]))

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[Any]:
        """Run a function on many arguments; see `concurrent.futures.Executor.map`."""
        return self.run_map(fn, iterables, chunksize=chunksize, ordered=True, timeout=timeout, is_eager=True)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: the pool ends with its connection."""

    def run_map(
        self,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        *,
        chunksize: int | None,
        ordered: bool,
        timeout: float | None = None,
        is_eager: bool = False,
    ) -> Iterator[Any]:
        """Run a function on many arguments; see `Connection.map`.

        `is_eager`: tasks begin now, as executors have it, and not when the first result is asked for.
        """
        if not iterables:
            raise TypeError("map() needs at least one iterable")
        if chunksize is not None and chunksize < 1:
            raise ValueError("chunksize must be 1 or more")
        total = _total(iterables)
        size = chunksize or (max(1, total // _CHUNKS) if total is not None else 1)
        chunks = _chunked(((args, {}) for args in zip(*iterables, strict=False)), size)
        results = self._results(fn, chunks, ordered=ordered, timeout=timeout, is_eager=is_eager)
        if is_eager:
            next(results)
        return _Progress(results, total, getattr(fn, "__name__", ""))

    # ------------------------------------------------------------ inside

    def _start(self, fn: Callable[..., Any], items: Items, finish: Callable[[list[Any]], Any]) -> Call:
        connection = self._connection
        link = connection.attachment.link(Role.ENGINE)
        digest = connection.exchange.define(link, fn)
        is_plain = connection.exchange.is_plain_only

        def end(outcome: messages.Outcome, buffers: list[memoryview]) -> Any:
            if isinstance(outcome, messages.Failed):
                raise exception_of(
                    outcome.error, buffers, connection.namespace, is_future=True, is_plain_only=is_plain
                )
            results = value_of(outcome, buffers, connection.namespace, is_plain_only=is_plain)
            if not isinstance(results, list) or not 0 < len(results) <= len(items):
                raise ProtocolError("the server's answer to a task is none")
            return finish(results)

        def stop(number: int) -> None:
            with contextlib.suppress(RpcMagicError):
                link.send(0, messages.CancelCall(number))

        call = Call(getattr(fn, "__name__", repr(fn)), end, lambda *_: None, stop)
        try:
            buffers = connection.exchange.objects.encode(items)
        except TransferError:
            for args, kwargs in items:
                connection.exchange.objects.encode_arguments(fn, args, kwargs)  # to name the one
            raise
        link.start(call, messages.MapTask(digest, is_plain), buffers, wait=True)
        return call

    def _results(
        self,
        fn: Callable[..., Any],
        chunks: Iterator[Items],
        *,
        ordered: bool,
        timeout: float | None,
        is_eager: bool,
    ) -> Iterator[Any]:
        """Keep a window of tasks under way; give their results in order, or as they finish.

        `is_eager`: give None first, once the first tasks are under way.
        """
        waiting: deque[Call] = deque()
        try:
            for chunk in islice(chunks, _WINDOW):
                waiting.append(self._start(fn, chunk, list))
            if is_eager:
                yield None
            while waiting:
                call = waiting.popleft() if ordered else _first_done(waiting, timeout)
                try:
                    results = call.result(timeout)
                except BaseException:  # the time is over, or Ctrl-C: it must not occupy a process any longer
                    call.cancel()
                    raise
                for chunk in islice(chunks, 1):
                    waiting.append(self._start(fn, chunk, list))
                for result in results:
                    yield self._value(result)
        finally:
            for call in waiting:
                call.cancel()

    def _value(self, item: Any) -> Any:
        """Return what one call of a task gave, or raise what it raised."""
        match item:
            case (True, value, bytes()):
                return value
            case (False, buffers, bytes(record)):
                connection = self._connection
                is_plain = connection.exchange.is_plain_only
                raise exception_of(
                    messages.decode_record(record),
                    buffers or (),
                    connection.namespace,
                    is_future=True,
                    is_plain_only=is_plain,
                )
        raise ProtocolError("the server's answer to a task is none")


def _first_done(waiting: deque[Call], timeout: float | None) -> Call:
    done, _ = concurrent.futures.wait(waiting, timeout, concurrent.futures.FIRST_COMPLETED)
    if not done:
        raise TimeoutError
    call = next(one for one in waiting if one in done)
    waiting.remove(call)
    return call


def _total(iterables: tuple[Iterable[Any], ...]) -> int | None:
    try:
        return min(len(iterable) for iterable in iterables)  # type: ignore[arg-type]  # those without are the except
    except TypeError:
        return None


def _chunked(items: Iterator[tuple[tuple[Any, ...], dict[str, Any]]], size: int) -> Iterator[Items]:
    while chunk := list(islice(items, size)):
        yield chunk


class _Progress:
    """An iterator of results that shows a bar in a notebook once it takes long; closing it ends the calls."""

    def __init__(self, results: Iterator[Any], total: int | None, label: str) -> None:
        self._results, self._total, self._label = results, total, label
        self._bar: Any = None
        if "ipykernel" in sys.modules and (total is None or total > 1):
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, desc=label, delay=_PROGRESS_SECONDS, leave=False)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            value = next(self._results)
        except BaseException:
            if self._bar is not None:
                self._bar.close()
            raise
        if self._bar is not None:
            self._bar.update()
        return value

    def close(self) -> None:
        """End the calls that are under way."""
        self._results.close()  # type: ignore[attr-defined]  # it is a generator
        if self._bar is not None:
            self._bar.close()
