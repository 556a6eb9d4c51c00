"""Help and completions of a session: `rpc_magic.worker.lookups`."""

from __future__ import annotations

from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from rpc_magic.wire import messages
from rpc_magic.worker.lookups import complete, inspect_name


@pytest.fixture
def shell() -> Any:
    """A shell whose `taken` is a number."""
    shell = InteractiveShell()
    shell.user_ns["taken"] = 3
    return shell


def test_names_stand_for_values_meanwhile(shell: Any) -> None:
    """Afterwards they are what they were, also when nothing was found."""
    order = list(shell.user_ns)
    values = {"taken": {"key": 1}, "new": "text"}
    answer = complete(shell, messages.Complete("taken['", 7), values)
    assert (answer.matches, answer.start, answer.end) == (("key",), 7, 7)
    answer = complete(shell, messages.Complete("x = new.zfi", 11), values)
    assert ["x = new.zfi"[: answer.start] + match for match in answer.matches] == ["x = new.zfill"]
    assert "dict" in inspect_name(shell, messages.Inspect("taken"), values).data["text/plain"]
    assert inspect_name(shell, messages.Inspect("taken.nothing"), values).data == {}
    assert shell.user_ns["taken"] == 3
    assert list(shell.user_ns) == order


def test_detail(shell: Any) -> None:
    """The second level shows the source."""
    values = {"f": pytest.fixture}
    assert "Source:" not in inspect_name(shell, messages.Inspect("f", 0), values).data["text/plain"]
    assert "Source:" in inspect_name(shell, messages.Inspect("f", 1), values).data["text/plain"]
