"""Values are fetched when a local cell mentions them: `rpc_magic.notebook.mention`."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def placed(notebook: Any) -> Any:
    """A notebook whose `big` is on the server."""
    notebook.good(
        "%%rpc_call\nimport numpy as np\nbig = np.arange(4.0)\ndef there(): return float(big.sum())"
    )
    return notebook


def is_here(notebook: Any) -> bool:
    """Tell whether `big` has been fetched; asks without mentioning it."""
    name = "'b' + 'ig'"
    return bool(notebook.good(f"type(get_ipython().user_ns.get({name})).__name__").result == "'ndarray'")


@pytest.mark.parametrize(
    "cell",
    [
        "big.sum()",
        "'docstring'\nfrom __future__ import annotations\nbig",
        "def use(): return big\nuse()",
        "%time big.sum()",
        "%timeit -n1 -r1 big.sum()",
        "%%time\nbig.sum()",
        "%%capture\nbig.sum()",
        "!echo {big}",
        "import asyncio\nawait asyncio.sleep(0)\nbig",
        "there()",
        "for x in big: pass",
    ],
)
def test_a_mention_fetches(placed: Any, cell: str) -> None:
    """Whatever form the mention has."""
    placed.good(cell)
    assert is_here(placed)


@pytest.mark.parametrize(
    "connect", ["conn = rpc_magic.connection()\n@conn", "@rpc_magic.connection('local')"]
)
def test_what_interact_decorates_leaves_it_there(placed: Any, connect: str) -> None:
    """Its body runs in the session of the remote cells, with what is there; what the cell itself reads is fetched."""
    placed.good("import rpc_magic")
    placed.good(
        f"{connect}.interact(n=(1, 3))\ndef head(n=2):\n    global seen\n    seen = float(big[:n].sum())"
    )
    assert placed.good("%rpc_call seen").result == "1.0"
    assert not is_here(placed)
    placed.good("@rpc_magic.connection().interact(n=(1, big.size))\ndef head(n=2): pass")
    assert is_here(placed)


@pytest.mark.parametrize(
    "cell",
    [
        "x = 1",
        "big?",
        "%%rpc_call\nbig.sum()",
        "y = %rpc_call float(big.sum())",
        "%%local\nbig.sum()",
        "%%time\n%%rpc_call\nbig.sum()",
        "%%capture\ny = %rpc_call float(big.sum())",
        "%time %rpc_call float(big.sum())",
        "def unused(v): return v",
        "big = 5",
        "del big",
        "'big'",
    ],
)
def test_no_mention_fetches_nothing(placed: Any, cell: str) -> None:
    """Text that runs elsewhere, help, and names that are only bound or deleted are no mentions."""
    placed.good(cell)
    assert not is_here(placed)


def test_results_are_fetched(notebook: Any) -> None:
    """Out, _ and _n follow the same rule, and all hold the fetched value afterwards."""
    notebook.good("import numpy as np")
    report = notebook.good("%%rpc_call\nnp.arange(3.0)")
    assert "RemoteValue" in report.result
    assert notebook.good("_.sum()").result == "np.float64(3.0)"
    count = notebook.good("%%rpc_call\nnp.arange(4.0)").count
    assert notebook.good(f"_{count}.sum(), type(Out[{count}]).__name__").result == (
        "(np.float64(6.0), 'ndarray')"
    )


def test_another_name_for_a_value_that_was_fetched_is_sent(notebook: Any) -> None:
    """The session has the value, but not by the name that it was given here."""
    notebook.good("%%rpc_call\nbig = list(range(1_000_000))")
    notebook.good("mine = globals()['b' + 'ig']")
    assert notebook.good("len(mine)").result == "1000000"
    assert notebook.good("%%rpc_call\nlen(mine), mine is big").result == "(1000000, True)"


def test_a_literal_index_of_out_is_a_mention(notebook: Any) -> None:
    """Out[5] stands for _5."""
    notebook.good("import numpy as np")
    count = notebook.good("%%rpc_call\nnp.arange(4.0)").count
    assert notebook.good(f"Out[{count}].sum()").result == "np.float64(6.0)"


def test_what_cannot_be_fetched_stops_the_cell(notebook: Any) -> None:
    """One sentence says which name is where and why; nothing else of the cell runs."""
    notebook.good("%%rpc_call\ngen = (i for i in range(3))")
    report = notebook.run("ran = True\nlist(gen)")
    assert report.error == "RemoteValueError"
    assert "gen (generator) cannot travel" in report.traceback
    assert "local" in report.traceback
    assert report.traceback.count("\n") == 0
    assert notebook.run("ran").error == "NameError"
    assert notebook.good("%%rpc_call\nnext(gen)").result == "0"


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("%rpc_disconnect", "big is gone: it was on local, which is disconnected"),
        ("%rpc_restart", "big is gone: it was in a session on local that has ended"),
        (
            "%rpc_call __import__('os').kill(__import__('os').getpid(), 9)",
            "big is on local and cannot be fetched: ",
        ),
        (
            "%rpc_call __import__('os').kill(__import__('os').getppid(), 9)",
            "big is on local and cannot be fetched: ",
        ),
    ],
)
def test_a_mention_after_the_value_is_gone(placed: Any, end: str, said: str) -> None:
    """One sentence says which name was where, whatever the end was; nothing else of the cell runs."""
    placed.run(end)
    while "kill" in end and "connected" in placed.good("%rpc_status").out:
        pass  # a session ends a moment after its keeper
    report = placed.run("ran = 1\nbig")
    assert report.error == "RemoteValueError"
    assert said in report.traceback
    assert placed.run("ran").error == "NameError"
    assert placed.run("big.sum()").error == "RemoteValueError"
    assert "RemoteValue big: numpy.ndarray" in placed.good("print(get_ipython().user_ns['b' + 'ig'])").out


def test_without_a_mention_the_value_says_what_it_is(placed: Any) -> None:
    """Code whose names cannot be told meets the placeholder, whose error names get()."""
    report = placed.run("eval('b' + 'ig') + 1")
    assert report.error == "RemoteValueError"
    assert "get()" in report.message
    assert placed.good("get_ipython().user_ns['b' + 'ig'].get().sum()").result == "np.float64(6.0)"


def test_a_value_that_the_user_keeps_there_is_left_alone(notebook: Any) -> None:
    """A RemoteValue made with put is the user's own and is not fetched."""
    notebook.good("conn = get_ipython()._rpc_magic_extension.registry.servers['local'].connection")
    notebook.good("kept = conn.put([1, 2])")
    assert notebook.good("type(kept).__name__, kept.get()").result == "('RemoteValue', [1, 2])"


def test_a_cell_that_is_no_python_is_left_alone(placed: Any) -> None:
    """The transformer stays registered whatever it meets."""
    assert placed.run("big +").error == "SyntaxError"
    placed.good("big")
    assert is_here(placed)


def test_cells_without_placeholders_cost_nothing_worth_naming(notebook: Any) -> None:
    """The transformer looks no further when there is nothing to fetch."""
    notebook.good(
        "import ast, time\nt = get_ipython()._rpc_magic_extension._mentions\ntree = ast.parse('x + 1\\n' * 500)"
    )
    report = notebook.good(
        "best = min((lambda b: (t.visit(tree), time.perf_counter() - b)[1])(time.perf_counter()) for _ in range(20))\n"
        "best < 0.001"
    )
    assert report.result == "True"


def test_stop_while_a_value_is_fetched(notebook: Any, tmp_path: Any, until: Any) -> None:
    """The cell ends, nothing of it runs, the value stays where it is and is fetched by the next one."""
    notebook.good(
        "%%rpc_call\nimport pathlib, time\nclass Slow:\n    def __reduce__(self):\n"
        f"        pathlib.Path({str(tmp_path / 'begun')!r}).touch()\n"
        f"        while not pathlib.Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.01)\n"
        "        return list, ()\nslow = Slow()"
    )
    notebook.start("ran = 1\nslow")
    until(tmp_path / "begun")
    notebook.interrupt()
    assert notebook.report().error == "KeyboardInterrupt"
    assert notebook.run("ran").error == "NameError"
    (tmp_path / "go").touch()
    assert notebook.good("slow").result == "[]"
