"""The measure as a command."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from .measuring import as_json, as_text, measure, notebooks_in
from .running import LOCAL, Way, px, remote

_EXAMPLES = """examples:
  python -m tests.parity ~/notebooks
  python -m tests.parity --where one --where local,one,two analysis.ipynb
  python -m tests.parity --px --json report.json tests/parity/notebooks
"""


def read_arguments() -> argparse.Namespace:
    """Return the command's arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.parity",
        description="Run notebooks plainly twice and once remotely, and compare what their cells show.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="NOTEBOOK-OR-FOLDER")
    parser.add_argument(
        "--where",
        action="append",
        metavar="PLACES",
        help=f"where the cells run in turn: names of servers and {LOCAL!r}; default: one server",
    )
    parser.add_argument("--px", action="store_true", help="measure ipyparallel's %%%%px as well (one engine)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to a file")
    parser.add_argument(
        "--timeout", type=float, default=120, metavar="SEC", help="for one cell (default: 120)"
    )
    return parser.parse_args()


def main() -> int:
    """Measure; the status is 1 where a cell differs with rpc_magic."""
    arguments = read_arguments()
    ways: list[Way] = [remote(tuple(where.split(","))) for where in arguments.where or ["one"]]
    ways += [px()] if arguments.px else []
    reports = []
    runtime = os.environ["RPC_MAGIC_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="rpcm-parity-")
    try:
        for notebook in notebooks_in(arguments.paths):
            new = measure(notebook, ways, timeout=arguments.timeout)
            sys.stderr.writelines(f"{report.notebook} [{report.way}] {report.counts}\n" for report in new)
            reports += new
    finally:
        shutil.rmtree(runtime, ignore_errors=True)
    print(as_text(reports))
    if arguments.json:
        arguments.json.write_text(json.dumps(as_json(reports), indent=1, default=str))
    return int(any(report.having("differs") for report in reports if report.way != "%%px"))


if __name__ == "__main__":
    sys.exit(main())
