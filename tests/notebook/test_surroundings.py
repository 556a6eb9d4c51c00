"""Seeds, options, filters and the folder: set in one cell, they hold in the next, wherever it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

SETTING = """import decimal, os, random, warnings
import numpy as np, pandas as pd
random.seed(7); np.random.seed(7)
np.set_printoptions(precision=3)
pd.set_option("display.max_rows", 5)
decimal.getcontext().prec = 4
warnings.filterwarnings("ignore", "not this")
os.environ["SET_IN_A_CELL"] = "yes"
os.chdir({folder!r})"""
LOOKING = """import decimal, os, random, warnings
import numpy as np, pandas as pd
with warnings.catch_warnings(record=True) as told:
    warnings.warn("not this one")
[random.random(), np.random.rand(), str(np.array([1 / 3])), pd.get_option("display.max_rows"),
 str(decimal.Decimal(1) / 3), len(told), os.environ.get("SET_IN_A_CELL"), os.getcwd()]"""
BACK = """random.seed(); np.random.seed(); np.set_printoptions(precision=8); pd.reset_option("display.max_rows")
decimal.getcontext().prec = 28
warnings.filters[:] = [one for one in warnings.filters if "not this" not in str(one[1])]
del os.environ["SET_IN_A_CELL"]"""


@pytest.fixture
def own(notebook: Any) -> Any:
    """A notebook whose folder and options are put back."""
    folder = notebook.good("import os; os.getcwd()").result
    yield notebook
    notebook.good(f"{BACK}; os.chdir({folder})")


def looked(own: Any, head: str) -> list[Any]:
    """Return what a cell finds around it."""
    report = own.good(f"{head}{LOOKING}")
    shown = report.result if report.result not in (None, "None") else report.shown[-1]["data"]["text/plain"]
    return list(eval(shown, {"np": __import__("numpy")}))


@pytest.mark.parametrize("first", ["", "%%rpc_call\n"])
def test_what_one_cell_sets_the_next_one_finds(own: Any, tmp_path: Path, first: str) -> None:
    """As in one kernel: numbers drawn by chance go on where the cell before has left them, wherever it ran."""
    own.good(f"{first}{SETTING.format(folder=str(tmp_path))}")
    other = "" if first else "%%rpc_call\n"
    draws = [looked(own, head) for head in (other, first, other)]
    own.good(f"{SETTING.format(folder=str(tmp_path))}")
    plain = [looked(own, "") for _ in range(3)]
    assert draws == plain
    assert draws[0][2:] == ["[0.333]", 5, "0.3333", 0, "yes", str(tmp_path)]


START = """import numpy as np, random, decimal, pandas as pd, warnings, os
os.environ["SET_IN_A_CELL"] = "yes"
"""


def test_cells_that_run_at_once_share_no_chance(own: Any) -> None:
    """Two background cells that draw numbers draw different ones; options hold in them."""
    own.good(f"{START}random.seed(1)")
    for name in ("one", "two"):
        own.good(f"%rpc_connect --name {name}")
        own.good(
            f"%%rpc_call -s {name} --noblock\nimport os, random\n"
            f"from_{name} = os.environ.get('SET_IN_A_CELL'), random.random()"
        )
    assert own.good("from_one[0], from_two[0], from_one == from_two").result == "('yes', 'yes', False)"


def test_what_is_sent_explicitly_brings_nothing_else(own: Any) -> None:
    """With -i and -o the cell has its own surroundings, and so has the notebook."""
    own.good(f"{START}x = 1")
    cell = "import os\nprint(os.environ.get('SET_IN_A_CELL'))\nos.environ['OTHER'] = 'there'"
    assert own.good(f"%%rpc_call -i x -o x\n{cell}").out == "None\n"
    assert own.good("os.environ.get('OTHER')").result == "None"


def test_a_fresh_session_is_told_again(own: Any) -> None:
    """After %rpc_restart the new process has what the notebook has set."""
    own.good(START)
    cell = "%%rpc_call\nimport os\nprint(os.environ.get('SET_IN_A_CELL'))"
    assert own.good(cell).out == "yes\n"
    own.good("%rpc_restart")
    assert own.good(cell).out == "yes\n"
