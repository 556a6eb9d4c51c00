"""Runs cells in a real session shell, in a process of its own, and reports what it shows as JSON lines.

Reads one JSON object from the file named as its argument: ``cells``, a list of objects with ``source`` and
optionally ``offset``, ``expression``, ``parent`` and ``until`` (an expression: the loop runs until it is
true); and ``answers`` for input(). Writes to the descriptor in RPC_MAGIC_TEST_FD, one object a line:
messages, questions, and the outcome of each cell.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    report_fd = int(os.environ["RPC_MAGIC_TEST_FD"])
    writing = threading.Lock()

    def report(**fields: Any) -> None:
        line = json.dumps(fields, default=repr) + "\n"
        with writing:
            os.write(report_fd, line.encode("utf-8"))

    import msgspec

    from rpc_magic.wire import messages
    from rpc_magic.worker.interrupts import InterruptGate
    from rpc_magic.worker.output import Outputs

    answers: list[str] = list(plan.get("answers", ()))

    def sink(call: int, message: messages.Message, buffers: Any) -> None:
        messages.encode(message)  # what cannot travel fails here
        fields = {name: getattr(message, name) for name in message.__struct_fields__}
        report(
            what=type(message).__name__,
            call=call,
            at=time.monotonic(),
            buffers=[bytes(buffer).hex() for buffer in buffers],
            **msgspec.to_builtins(fields),
        )

    def ask(call: int, prompt: str, password: bool) -> str:
        report(what="Question", call=call, prompt=prompt, password=password)
        return answers.pop(0)

    outputs = Outputs(sink, ask)
    gate = InterruptGate()
    gate.install()
    outputs.install()

    from rpc_magic.worker.cells import render, run_cell, run_expression
    from rpc_magic.worker.shell import make_shell

    shell = make_shell(outputs, gate)
    shell.user_ns["report"] = report
    shell.user_ns["shell_gate"] = gate

    async def run() -> None:
        for number, cell in enumerate(plan["cells"], 1):
            function = run_expression if cell.get("expression") else run_cell
            with outputs.call(number):
                result = await function(
                    shell, cell["source"], parent=cell.get("parent", {}), line_offset=cell.get("offset", 0)
                )
            data, metadata = {}, {}
            if result.shown is not None:
                data, metadata = result.shown.data, result.shown.metadata
            elif result.has_value:
                data, metadata = render(shell, result.value)
            report(
                what="Done",
                call=number,
                count=result.execution_count,
                error=type(result.error).__name__ if result.error is not None else None,
                record=msgspec.structs.asdict(result.record) if result.record else None,
                value=repr(result.value),
                has_value=result.has_value,
                silenced=result.silenced,
                data=msgspec.to_builtins(data),
                metadata=msgspec.to_builtins(metadata),
            )
            while not eval(cell.get("until", "True"), shell.user_ns):  # noqa: ASYNC110 - the cell decides
                await asyncio.sleep(0.01)
        outputs.flush()

    asyncio.run(run())
    report(what="End")
    os._exit(0)


main()
