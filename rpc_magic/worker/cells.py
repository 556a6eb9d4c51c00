"""Runs cells and expressions in a session's shell, and says how they ended.

A cell runs as a kernel runs it. Two things differ: the value of its last expression is, besides being shown,
handed to the caller as an object, and an error is handed to the caller as a record instead of being printed.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import sys
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass
from typing import Any

from rpc_magic.wire.messages import ErrorRecord, ExecuteResult
from rpc_magic.worker.bundles import plain
from rpc_magic.worker.cellnames import cell_file
from rpc_magic.worker.shell import ZMQInteractiveShell
from rpc_magic.worker.stepping import GatedAwaitable
from rpc_magic.worker.tracebacks import error_record

__all__ = ["CellResult", "render", "run_awaitable", "run_cell", "run_expression"]

# Where only one expression of a cell can have its value shown, that value is the cell's; elsewhere all are
# shown.
_ONE_VALUE = frozenset({"last_expr", "last_expr_or_assign"})


@dataclass
class CellResult:
    """How a cell ended.

    Attributes:
        execution_count: the session's own count of this cell.
        error: what it raised.
        record: the error as text.
        value: the value of its last expression.
        has_value: there is one, it is not None and not silenced.
        shown: what was shown of it; None for the value of an expression that is no cell.
        silenced: the cell ends in a semicolon.
        file: the name of the cell's file, which there is not; empty for an expression.
    """

    execution_count: int
    error: BaseException | None = None
    record: ErrorRecord | None = None
    value: object = None
    has_value: bool = False
    shown: ExecuteResult | None = None
    silenced: bool = False
    file: str = ""


async def run_cell(
    shell: ZMQInteractiveShell, source: str, *, parent: dict[str, Any] | None = None, line_offset: int = 0
) -> CellResult:
    """Run a cell; what it shows goes to the current call.

    Args:
        shell: the session's shell.
        source: the cell's text as the user wrote it.
        parent: the notebook message that caused the cell, or its header; empty outside notebooks.
        line_offset: lines above `source` in the notebook's cell.

    Returns:
        How it ended; exceptions of the cell are never raised.

    Raises:
        asyncio.CancelledError: the caller's own task was cancelled.
    """
    shell.set_parent(parent or {})
    result = CellResult(shell.execution_count, file=cell_file(source.removesuffix("\n")))
    shell.take_value()
    quiet_depth, shell.quiet_depth = shell.quiet_depth, shell.depth + 1
    shell.takes_value = shell.ast_node_interactivity in _ONE_VALUE
    try:
        error = await _run_in_shell(shell, source, line_offset)
    finally:
        shell.quiet_depth = quiet_depth
        shell.takes_value = False
    taken = shell.take_value()
    if taken is not None:
        result.value, result.shown = taken
        result.has_value = True
    result.silenced = not result.has_value and _is_silenced(shell, source)
    _finish(shell, result, error)
    return result


async def run_expression(
    shell: ZMQInteractiveShell, text: str, *, parent: dict[str, Any] | None = None, line_offset: int = 0
) -> CellResult:
    """Evaluate one expression, which may await; it makes no history entry and sets no ``_``.

    Args:
        shell: the session's shell.
        text: the expression.
        parent: the notebook message that caused it, or its header; empty outside notebooks.
        line_offset: lines above `text` in the notebook's cell.

    Returns:
        How it ended; exceptions of the expression are never raised.

    Raises:
        asyncio.CancelledError: the caller's own task was cancelled.
    """
    shell.set_parent(parent or {})
    result = CellResult(shell.execution_count)
    error: BaseException | None = None
    shell.events.trigger("pre_execute")
    try:
        result.value = await _evaluate(shell, text.strip(), line_offset)
    except BaseException as raised:  # it belongs to the user, whatever it is
        if isinstance(raised, asyncio.CancelledError) and _is_cancelled():
            raise
        error = raised
    result.has_value = error is None and result.value is not None
    if error is not None:
        shell.remember_error(error)
    _finish(shell, result, error)
    return result


async def run_awaitable(
    shell: ZMQInteractiveShell, awaitable: Awaitable[Any]
) -> tuple[Any, BaseException | None]:
    """Await something as user code, on a task of its own.

    Args:
        shell: the session's shell.
        awaitable: what a function returned, or an expression compiled to.

    Returns:
        Its value and what it raised, one of them None; KeyboardInterrupt when Stop was pressed.

    Raises:
        asyncio.CancelledError: the caller's own task was cancelled.
    """
    value, error = await _run_in_task(shell, _drive(GatedAwaitable(awaitable, shell.gate)))
    return value, _as_interrupt(shell, error)


def render(shell: ZMQInteractiveShell, value: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make the MIME bundle of a value, with the session's formatters.

    Args:
        shell: the session's shell.
        value: any object; errors of its own ``_repr_*_`` are shown on stderr, and their format left out.

    Returns:
        The bundle and its metadata, plain data. Both are empty when the object has shown itself.

    Raises:
        KeyboardInterrupt: Stop was pressed.
    """
    with shell.gate.user_code():
        data, metadata = shell.display_formatter.format(value)
    return plain(data), plain(metadata or {})


async def _run_in_shell(shell: ZMQInteractiveShell, source: str, line_offset: int) -> BaseException | None:
    failure: Any = None
    transformed = source
    try:
        transformed = shell.transform_cell(source)
    except Exception:  # noqa: BLE001 - transformers are open to users
        failure = sys.exc_info()
    shell.compile.shifted = (transformed, line_offset) if line_offset else None
    coroutine = shell.run_cell_async(
        source, store_history=True, transformed_cell=transformed, preprocessing_exc_tuple=failure
    )
    is_async = shell.should_run_async(source, transformed_cell=transformed, preprocessing_exc_tuple=failure)
    try:
        outcome = await _run_in_task(shell, coroutine) if is_async else _run_now(coroutine)
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - raised by IPython's machinery or by an interrupt inside it
        shell.remember_error(error)
        return error
    finally:
        shell.compile.shifted = None
    found: BaseException | None = outcome.error_before_exec or outcome.error_in_exec
    found = _as_interrupt(shell, found)
    if found is not None:
        shell.remember_error(found)
    return found


def _as_interrupt(shell: ZMQInteractiveShell, error: BaseException | None) -> BaseException | None:
    """Return KeyboardInterrupt, with the user's frames, for a cancellation by the gate."""
    if isinstance(error, asyncio.CancelledError) and shell.gate.take_cancelled():
        return KeyboardInterrupt().with_traceback(error.__traceback__)
    return error


def _run_now(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise RuntimeError("a cell without `await` has waited")


async def _run_in_task(shell: ZMQInteractiveShell, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine as a task of its own, which a SIGINT cancels while it waits; context variables stay set."""
    task = asyncio.get_running_loop().create_task(coroutine, context=shell.context)
    shell.gate.set_task(task)
    try:
        outcome = await task
    finally:
        shell.gate.set_task(None)
    if _is_cancelled():
        raise asyncio.CancelledError
    return outcome


def _is_cancelled() -> bool:
    """Tell whether somebody cancels the caller's own task, and not what it awaits."""
    current = asyncio.current_task()
    return current is not None and current.cancelling() > 0


async def _evaluate(shell: ZMQInteractiveShell, text: str, line_offset: int) -> Any:
    compiler = shell.compile
    compiler.shifted = (text, line_offset) if line_offset else None
    try:
        name = compiler.cache(text, shell.execution_count, raw_code=text)
        tree = compiler.ast_parse(text, name, "eval")
    finally:
        compiler.shifted = None
    with compiler.extra_flags(ast.PyCF_ALLOW_TOP_LEVEL_AWAIT):
        code = compiler(tree, name, "eval")
    with shell.display_trap:
        if code.co_flags & inspect.CO_COROUTINE:
            coroutine = eval(code, shell.user_global_ns, shell.user_ns)
            value, error = await run_awaitable(shell, coroutine)
            if error is not None:
                raise error
            return value
        with shell.gate.user_code():
            return eval(code, shell.user_global_ns, shell.user_ns)


async def _drive(awaitable: GatedAwaitable) -> tuple[Any, BaseException | None]:
    """Await; an error is returned, because a KeyboardInterrupt that leaves a task ends the loop."""
    try:
        return await awaitable, None
    except BaseException as error:  # noqa: BLE001 - it is the caller's
        return None, error


def _finish(shell: ZMQInteractiveShell, result: CellResult, error: BaseException | None) -> None:
    """Let figures be shown and hooks run, describe the error, and send what is pending."""
    was_heard = shell.gate.heard
    try:
        with shell.gate.user_code():
            shell.events.trigger("post_execute")
            shell.events.trigger("post_run_cell", shell.last_execution_result)
    except KeyboardInterrupt as interrupt:
        error = error or interrupt
    if shell.gate.heard and not was_heard:  # IPython takes it for an error of the hook, and goes on
        error = error or KeyboardInterrupt()
    if error is not None:
        result.error = error
        result.value, result.has_value = None, False
        try:
            with shell.gate.user_code():
                result.record = error_record(error, shell=shell)
        except KeyboardInterrupt:
            result.record = error_record(error)
    shell.outputs.flush()


def _is_silenced(shell: ZMQInteractiveShell, source: str) -> bool:
    if ";" not in source:  # to find its place takes longer than many cells run
        return False
    try:
        return bool(shell.displayhook.semicolon_at_end_of_expression(source))
    except Exception:  # noqa: BLE001 - a text that cannot be tokenized is not silenced
        return False
