"""What a remote cell reads and what it binds, kind by kind, in a real shell with a real session.

Which names stand in a cell is tested in tests/namespace; here, that their values are where they are used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

READS = {
    "magic": ("x = 3", "%time y = x + 1\ny", "4"),
    "magic with a body": ("x = 3", "%%capture out\nprint(x)", "3"),
    "timed expression": ("x = 3", "t = %timeit -o -q -n1 -r1 x + 1\ntype(t).__name__", "'TimeitResult'"),
    "command": ("x = 'a'; y = 'b'", "out = !echo {x.upper()} $y\nlist(out)", "['A b']"),
    "command, expression": ("x = ['a', 'b']", "out = !echo {'-'.join(v for v in x)}\nout[0]", "'a-b'"),
    "f-string": ("x = 3; w = 4", "f'{x:>{w}} {x=}'", "'   3 x=3'"),
    "comprehension": ("x = 3; ys = [1, 2]", "[x * y for y in ys if y < x], {x for _ in ys}", "([3, 6], {3})"),
    "decorator": ("def d(n): return lambda f: n\nk = 5", "@d(k)\ndef f(): pass\nf", "5"),
    "default": ("d = 7", "def f(a=d, *, b=d): return a + b\nf()", "14"),
    "annotation": ("T = int", "def f(a: T): pass\nf.__annotations__['a'] is int", "True"),
    "class body": (
        "base = dict; v = 9",
        "class C(base):\n    a = v\n    def m(self): return v\nC().m()",
        "9",
    ),
    "global": ("g = 1", "def f():\n    global g\n    g += 1\nf()\ng", "2"),
    "del": ("x = 3; y = 4", "del x\ny", "4"),
    "item deleted": ("x = [1, 2]", "del x[0]\nx", "[2]"),
    "augmented": ("x = 3", "x += 1\nx", "4"),
    "augmented item": ("x = {'k': 1}", "x['k'] += 1\nx", "{'k': 2}"),
    "eval": ("x = 3", "eval('x + 1')", "4"),
    "exec": ("x = 3", "exec('z = x + 1')\nz", "4"),
    "eval of what is not known": ("x = 3; s = 'x + 1'", "eval(s)", "4"),
    "globals": ("x = 3", "globals()['x'], vars()['x'], locals()['x']", "(3, 3, 3)"),
    "shell": ("x = 3", "get_ipython().user_ns['x'], get_ipython().ev('x')", "(3, 3)"),
    "main module": ("x = 3", "import __main__\n__main__.x", "3"),
    "main module, renamed": ("x = 3", "import __main__ as m\ngetattr(m, 'x')", "3"),
    "function, transitive": ("c = 1\ndef a(): return c\ndef b(): return a()", "b()", "1"),
    "class, transitive": (
        "c = 1\ndef a(): return c\nclass K:\n    @property\n    def p(self): return a()",
        "K().p",
        "1",
    ),
    "instance, transitive": (
        "c = 1\ndef a(): return c\nclass K:\n    def m(self): return a()\nk = K()",
        "k.m()",
        "1",
    ),
    "partial and container": (
        "import functools\nc = 5\ndef a(v): return c + v\nd = {'f': [functools.partial(a, 1)]}",
        "d['f'][0]()",
        "6",
    ),
    "closure": ("c = 5\ndef make(n): return lambda: c * n\nf = make(2)", "f()", "10"),
    "eval, transitive": ("q = 21\ndef h(): return eval('q * 2')", "h()", "42"),
    "globals, transitive": ("q = 21\ndef h(): return globals()['q']", "h()", "21"),
    "query": (
        "import pandas as pd\ndf = pd.DataFrame({'a': [1, 2]}); k = 1",
        "df.query('a > @k').a.tolist()",
        "[2]",
    ),
    "query, transitive": (
        "import pandas as pd\ndf = pd.DataFrame({'a': [1, 2]}); k = 1\ndef over(): return df.query('a > @k')",
        "over().a.tolist()",
        "[2]",
    ),
    "profiled text": ("def f(): print('ran')", "%%capture out\nimport cProfile\ncProfile.run('f()')", "ran"),
    "timed text": (
        "x = 3",
        "import timeit\ntimeit.timeit('x', 'from __main__ import x', number=1) > 0",
        "True",
    ),
    "match": ("K = 1; v = [1]", "match v:\n    case [n] if n == K: r = n\nr", "1"),
    "await": ("c = 5\nasync def g(): return c", "await g()", "5"),
}


BINDS = {
    "assignment": ("", "a, (b, *c) = 1, (2, 3)", "a, b, c", "(1, 2, [3])"),
    "import": (
        "",
        "import json as j, os.path\nfrom math import pi as p",
        "j.dumps(1), os.sep, p > 3",
        "('1', '/', True)",
    ),
    "star import": ("", "from math import *", "floor(2.5), pi > 3", "(2, True)"),
    "def": ("", "def f(): return 1", "f()", "1"),
    "class": ("", "class C:\n    v = 1", "C().v", "1"),
    "for": ("", "for i, j in [(1, 2)]: pass", "i, j", "(1, 2)"),
    "with": ("", "import contextlib\nwith contextlib.nullcontext(4) as w: pass", "w", "4"),
    "except": (
        "",
        "try: 1 / 0\nexcept ZeroDivisionError as e: t = str(e)",
        "t[:8], 'e' in globals()",
        "('division', False)",
    ),
    "walrus": ("", "[w := q for q in range(4)]", "w", "3"),
    "match": ("", "match [1, 2]:\n    case [m, *r]: pass", "m, r", "(1, [2])"),
    "globals": ("", "globals()['x'] = 1\nglobals().update(y=2)\nexec('z = 3')", "x, y, z", "(1, 2, 3)"),
    "shell": ("", "get_ipython().push({'p': 3})\nimport __main__\n__main__.m = 4", "p, m", "(3, 4)"),
    "magic": ("", "%%bash --out text\necho hi", "text", r"'hi\n'"),
    "command": ("", "out = !echo hi", "list(out)", "['hi']"),
    "list": ("a = b = [1]", "a.append(2)", "a, b is a", "([1, 2], True)"),
    "array": (
        "import numpy as np\na = np.zeros(3); v = a[1:]",
        "a[1] = 5",
        "a.tolist(), v.tolist()",
        "([0.0, 5.0, 0.0], [5.0, 0.0])",
    ),
    "table": (
        "import pandas as pd\ndf = r = pd.DataFrame({'x': [1]})",
        "df['y'] = df.x * 2",
        "list(df.y), r is df",
        "([2], True)",
    ),
    "attribute": ("class O: pass\no = r = O()", "o.v = [1]", "o.v, r is o", "([1], True)"),
    "slot": ("class O:\n    __slots__ = ('v',)\no = r = O()", "o.v = [1]", "o.v, r is o", "([1], True)"),
    "attribute of a class": ("class C:\n    n = 0\nc = C()", "C.n = 5", "c.n", "5"),
    "attribute of a function": ("def f(): pass", "f.calls = 3", "f.calls", "3"),
    "called function": ("def sets():\n    global g\n    g = 5", "sets()", "g", "5"),
    "called, in place": ("s = {}\ndef two(): s['k'] = 1\ndef one(): two()", "one()", "s", "{'k': 1}"),
    "del": (
        "x = 3; y = 4\ndef d():\n    global y\n    del y",
        "del x\nd()",
        "'x' in globals(), 'y' in globals()",
        "(False, False)",
    ),
    "magic that deletes": ("x = [1]", "%xdel x", "'x' in globals()", "False"),
    "failed cell": ("x = 1", "x = 2\nraise KeyError", "x", "2"),
}


@pytest.fixture
def shell(running_notebook: Any) -> Any:
    """A shell connected to a session that all cases here use, without variables on either side."""
    running_notebook.good("%load_ext rpc_magic")
    running_notebook.good("%rpc_connect")
    running_notebook.good("%reset -f")
    return running_notebook


@pytest.mark.parametrize("kind", READS)
def test_reads(shell: Any, kind: str) -> None:
    """What the cell reads is there when it runs."""
    before, cell, expected = READS[kind]
    shell.good(before)
    report = shell.good(f"%%rpc_call\n{cell}")
    if "capture" in cell:
        assert expected in shell.good("out.stdout").result
    else:
        assert report.result == expected


@pytest.mark.parametrize("kind", BINDS)
def test_binds(shell: Any, kind: str) -> None:
    """What the cell bound, changed or deleted is seen by the next local cell, and by the next remote one."""
    before, cell, check, expected = BINDS[kind]
    shell.good(before)
    report = shell.run(f"%%rpc_call\n{cell}")
    assert report.error == ("KeyError" if "raise" in cell else None), report.traceback
    assert shell.good(check).result == expected
    assert shell.good(f"%%rpc_call\nrepr(({check}))").result == repr(expected)


def test_what_a_thread_changes_between_cells_comes_with_the_next_one(
    notebook: Any, until: Any, tmp_path: Path
) -> None:
    """A remote thread that outlives its cell writes on; the next remote cell that reads the variable brings it here."""
    go, done = tmp_path / "go", tmp_path / "done"
    notebook.good("log = []")
    notebook.good(
        "%%rpc_call\nimport pathlib, threading, time\nlog.append('cell')\n"
        f"def write(go=pathlib.Path({str(go)!r}), done=pathlib.Path({str(done)!r})):\n"
        "    while not go.exists(): time.sleep(0.01)\n    log.append('thread')\n    done.touch()\n"
        "threading.Thread(target=write, daemon=True).start()"
    )
    go.touch()
    until(done)
    notebook.good("%%rpc_call\nlen(log)")
    assert notebook.good("print(log)").out == "['cell', 'thread']\n"
