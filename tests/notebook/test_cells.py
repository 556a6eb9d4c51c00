"""How a cell is run: `rpc_magic.notebook.cells`."""

from __future__ import annotations

from typing import Any

import pytest

LOOK = """
from rpc_magic.namespace import references_outside
from rpc_magic.notebook.cells import history_of
def is_held_elsewhere(name):
    values = {name: globals()[name]}
    known = (values.values(), globals().values(), *history_of(get_ipython()))
    return bool(references_outside(values.values(), known).shared)
"""


@pytest.mark.parametrize("times", [1, 4])
def test_what_was_shown_is_not_taken_for_shared(bare: Any, times: int) -> None:
    """All references that the shell itself keeps of a result are known, so that nothing is searched for others."""
    bare.good(LOOK)
    bare.good("shown, other = [1], [2]; holder = {'other': other}")
    for _ in range(times):
        bare.good("shown")
    assert bare.good("is_held_elsewhere('shown')").result == "False"
    assert bare.good("is_held_elsewhere('shown')").result == "False"
    assert bare.good("is_held_elsewhere('other')").result == "True"
