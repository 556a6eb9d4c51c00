"""Completion and help of values that are elsewhere: `rpc_magic.notebook.asking`."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def placed(notebook: Any) -> Any:
    """A notebook whose `df` is on the server."""
    notebook.good("%%rpc_call\nimport pandas as pd\ndf = pd.DataFrame({'alpha': [1, 2], 'beta': [3, 4]})\ndf")
    return notebook


def is_there(notebook: Any) -> bool:
    """Tell whether `df` has not been fetched; asks without mentioning it."""
    return bool(notebook.good("type(get_ipython().user_ns['d' + 'f']).__name__").result == "'RemoteValue'")


def shown(notebook: Any, name: str, detail: int = 0) -> str:
    """Return what Shift-Tab shows for a name."""
    return str(
        notebook.good(f"print(get_ipython().object_inspect_mime('{name}', {detail})['text/plain'])").out
    )


def busy(notebook: Any, tmp_path: Any) -> None:
    """Keep the session busy until a file exists."""
    notebook.good(
        "%%rpc_call --noblock\nimport pathlib, time\n"
        f"while not pathlib.Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.01)"
    )


@pytest.mark.parametrize("jedi", [True, False])
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("df.gro", "df.groupby"),
        ("x = 1 + df.alp", "df.alpha"),
        ("df.alpha.cums", "df.alpha.cumsum"),
        ("df['al", "df['alpha"),
        ("df['alpha'].cums", "df['alpha'].cumsum"),
        ("_.gro", "_.groupby"),
    ],
)
def test_attributes_and_keys_are_completed_by_the_server(
    placed: Any, line: str, expected: str, jedi: bool
) -> None:
    """With jedi and without, for what is behind an attribute as well; nothing is fetched."""
    placed.good(f"get_ipython().Completer.use_jedi = {jedi}")
    assert placed.ask(complete=line).matches == [expected]
    assert is_there(placed)


def test_other_completions_are_as_before(placed: Any) -> None:
    """Names and attributes of values that are here are nobody else's business."""
    placed.good("import sys\ntable = {'one': 1}")
    assert placed.ask(complete="sys.getsizeo").matches == ["sys.getsizeof"]
    assert placed.ask(complete="table['o").matches == ["table['one"]


def test_help_comes_from_the_server(placed: Any) -> None:
    """A value's, an attribute's, and what two question marks show; nothing is fetched."""
    assert "DataFrame" in shown(placed, "df")
    assert "Group DataFrame" in shown(placed, "df.groupby")
    assert "Source:" in shown(placed, "df.groupby", 1)
    assert "Source:" not in shown(placed, "df.groupby")
    assert "Group DataFrame" in placed.good("df.groupby?").out
    assert "alpha" in placed.good("df?").out
    assert "not found on local" in placed.good("df.nothing?").out
    assert "Object `nothing` not found" in placed.good("nothing?").out
    assert "builtin" in placed.good("print?").out
    assert is_there(placed)


def test_a_name_that_is_another_there(placed: Any) -> None:
    """What a name stands for here is asked for, whatever the name means in the session."""
    placed.good("%%rpc_call -o ''\nother = 5")
    placed.good("g = get_ipython().user_ns; g['other'] = g['d' + 'f']")
    assert placed.ask(complete="other.gro").matches == ["other.groupby"]
    assert "Group DataFrame" in shown(placed, "other.groupby")
    assert placed.good("%rpc_call -- 1 + 1").result == "2"
    placed.good("del other")
    assert is_there(placed)


def test_dir_is_the_servers(placed: Any) -> None:
    """All names, also where nobody completes."""
    names = "dir(get_ipython().user_ns['d' + 'f'])"
    assert placed.good(f"{{'groupby', 'alpha', '__len__', 'get'}} <= set({names})").result == "True"
    assert is_there(placed)


def test_a_busy_session_keeps_nobody_waiting(placed: Any, tmp_path: Any) -> None:
    """What is known here is shown: the class's attributes where its package is imported, and what the value is."""
    busy(placed, tmp_path)
    report = placed.good(
        "import time; began = time.monotonic()\n"
        "text = get_ipython().object_inspect_mime('df')['text/plain']\n"
        "print(text, time.monotonic() - began < 5)"
    )
    assert "pandas.DataFrame, 2 rows" in report.out
    assert "local does not answer now" in report.out
    assert report.out.endswith("True\n")
    placed.good("import pandas")
    assert placed.ask(complete="df.gro").matches == ["df.groupby"]
    assert "Group DataFrame" in shown(placed, "df.groupby")
    assert placed.good("'groupby' in dir(get_ipython().user_ns['d' + 'f'])").result == "True"
    (tmp_path / "go").touch()
    placed.good("%rpc_result")
    assert placed.ask(complete="df.alp").matches == ["df.alpha"]


def test_a_session_that_does_not_answer_is_not_waited_for(placed: Any, tmp_path: Any) -> None:
    """A task of the user's keeps it busy, of which nobody here knows: the question is taken back after a moment."""
    placed.good(
        "%%rpc_call\nimport asyncio, pathlib, time\nasync def hold():\n"
        f"    while not pathlib.Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.01)\n"
        "task = asyncio.get_running_loop().create_task(hold()); None"
    )
    report = placed.good(
        "import time; began = time.monotonic()\n"
        "print(get_ipython().object_inspect_mime('df')['text/plain'], 0.5 < time.monotonic() - began < 5)"
    )
    assert "does not answer now" in report.out
    assert report.out.endswith("True\n")
    (tmp_path / "go").touch()
    assert placed.good("%rpc_call 1 + 1").result == "2"
    assert placed.ask(complete="df.alp").matches == ["df.alpha"]


def test_a_server_that_is_gone_breaks_nothing(placed: Any) -> None:
    """Help says what is known."""
    placed.good("%rpc_disconnect")
    assert "pandas.DataFrame, 2 rows" in shown(placed, "df")
    placed.good("import pandas")
    assert placed.ask(complete="df.gro").matches == ["df.groupby"]
    assert placed.good("'get' in dir(get_ipython().user_ns['d' + 'f'])").result == "True"


def test_unloading_takes_it_away(placed: Any) -> None:
    """The shell is as it was."""
    placed.good("%unload_ext rpc_magic")
    report = placed.good(
        "s = get_ipython()\n[n for n in ('_inspect', 'object_inspect_mime') if n in vars(s)], "
        "[m for m in s.Completer.custom_matchers if 'rpc_magic' in m.__module__]"
    )
    assert report.result == "([], [])"
