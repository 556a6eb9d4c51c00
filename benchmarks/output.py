"""Measures what a cell prints: how soon it is at the page, how many lines a second, and what printing costs the cell.

``python benchmarks/output.py``. A real kernel, whose messages are taken as a page takes them; each measurement of a
remote cell is taken in turns with that of a plain cell of the same kernel.
"""

from __future__ import annotations

import ast
import statistics
import time
from typing import Any

from jupyter_client.manager import start_new_kernel

ROUNDS = 7
LINES = 100_000
PRINTS = 40
TIMEOUT = 120.0

SOON = f"""
import time
for _ in range({PRINTS}):
    time.sleep(0.03)
    print(time.time())
"""
MANY = f"""
import time
began, used = time.perf_counter(), time.process_time()
for n in range({LINES}): print('line', n)
took = time.perf_counter() - began, time.process_time() - used
"""


class Page:
    """A kernel, and what its cells print."""

    def __init__(self) -> None:
        self.manager, self.client = start_new_kernel(startup_timeout=TIMEOUT)

    def run(self, cell: str) -> tuple[float, list[tuple[float, str]]]:
        """Run a cell; return the seconds until all of it was here, and what came, each with its time of day."""
        began = time.perf_counter()
        number = self.client.execute(cell)
        came: list[tuple[float, str]] = []
        while True:
            message: dict[str, Any] = self.client.get_iopub_msg(timeout=TIMEOUT)
            content = message["content"]
            if message["parent_header"].get("msg_id") != number:
                continue
            if message["msg_type"] == "stream":
                came.append((time.time(), content["text"]))
            elif message["msg_type"] == "execute_result":
                came.append((time.time(), content["data"]["text/plain"]))
            elif message["msg_type"] == "error":
                raise RuntimeError("\n".join(content["traceback"]))
            elif content.get("execution_state") == "idle":
                return time.perf_counter() - began, came

    def delays(self, magic: str) -> list[float]:
        """Return the seconds from each print to its being here."""
        _, came = self.run(magic + SOON)
        return [when - float(line) for when, text in came for line in text.split()]

    def many(self, magic: str) -> tuple[float, float, float]:
        """Return seconds until all lines are here, seconds of the loop in the cell, and its processor time."""
        whole, came = self.run(magic + MANY)
        count = sum(text.count("\n") for _, text in came)
        if count != LINES:
            raise RuntimeError(f"{count:,} of {LINES:,} lines came")
        took, used = ast.literal_eval(self.run("took")[1][0][1])
        return whole, took, used

    def close(self) -> None:
        """End it."""
        self.run("%unload_ext rpc_magic")
        self.client.stop_channels()
        self.manager.shutdown_kernel()


def main() -> None:
    """Measure, print."""
    page = Page()
    page.run("%load_ext rpc_magic\n%rpc_connect --no-widget\n%rpc_config output_lines 1000000")
    page.run("%rpc_config output_size 1000000000")
    kinds = {"remote": "%%rpc_call", "plain": ""}
    delays: dict[str, list[float]] = {kind: [] for kind in kinds}
    many: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in kinds}
    for _ in range(ROUNDS):
        for kind, magic in kinds.items():
            delays[kind] += page.delays(magic)
            many[kind].append(page.many(magic))
    page.close()
    for kind in kinds:
        one = sorted(delays[kind])
        print(
            f"{kind}: from the print to the page {1e3 * statistics.median(one):.1f} ms, nine of ten within "
            f"{1e3 * one[len(one) * 9 // 10]:.1f} ms, at most {1e3 * one[-1]:.1f} ms"
        )
        whole, took, used = (statistics.median(column) for column in zip(*many[kind], strict=True))
        print(
            f"{kind}: {LINES / whole:,.0f} lines a second at the page; the cell prints {LINES / took:,.0f} a second, "
            f"{1e6 * used / LINES:.1f} us of a processor for a line"
        )
    ratios = [
        statistics.median(r[i] / p[i] for r, p in zip(many["remote"], many["plain"], strict=True))
        for i in range(3)
    ]
    print(
        "remote beside plain (times): whole {:.2f}, loop {:.2f}, processor of the loop {:.2f}".format(*ratios)
    )


if __name__ == "__main__":
    main()
