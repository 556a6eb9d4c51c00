"""Tables of cells and the names in them, as IPython's own transformations leave their text."""

from __future__ import annotations

import ast
import builtins
import sys
import warnings

import pytest
from IPython.core.inputtransformer2 import TransformerManager

from rpc_magic.namespace import CellNames, cell_names, cell_names_of_tree, prelude_index


def names_in(cell: str) -> CellNames:
    """Return the names in a cell as a user writes it."""
    return cell_names(TransformerManager().transform_cell(cell))


def check(cell: str, reads: str, binds: str = "", deletes: str = "") -> CellNames:
    """Assert the names of a cell, builtins left out of the reads."""
    names = names_in(cell)
    assert {n for n in names.reads if not hasattr(builtins, n)} == set(reads.split())
    assert names.binds == set(binds.split())
    assert names.deletes == set(deletes.split())
    return names


@pytest.mark.parametrize(
    ("cell", "reads", "binds", "deletes"),
    [
        ("", "", "", ""),
        ("x", "x", "", ""),
        ("x = y", "y", "x", ""),
        ("x = 1\nprint(x)", "", "x", ""),
        ("print(x)\nx = 1", "x", "x", ""),
        ("x = x + 1", "x", "x", ""),
        ("x += y", "x y", "x", ""),
        ("x: int = y", "y", "x", ""),
        ("x: T", "T", "", ""),
        ("x.a = y", "x y", "", ""),
        ("x[i] += y", "x i y", "", ""),
        ("a, (b, *c) = d", "d", "a b c", ""),
        ("del x", "x", "", "x"),
        ("x = 1\ndel x\nx", "", "x", "x"),
        ("del x.a, y[0]", "x y", "", ""),
        ("import a.b, c.d as e", "", "a e", ""),
        ("from a import b, c as d", "", "b d", ""),
        ("for i in x:\n    y = i\nprint(i, y)", "x i y", "i y", ""),
        ("if c:\n    x = 1\nprint(x)", "c x", "x", ""),
        ("if c:\n    x = 1\nelse:\n    x = 2\nprint(x)", "c", "x", ""),
        ("if c:\n    x = 1\nelse:\n    raise E\nprint(x)", "c E", "x", ""),
        ("while c:\n    x = 1\nx", "c x", "x", ""),
        ("with open(p) as h:\n    x = h.read()\nx", "p", "h x", ""),
        ("with manager as h:\n    x = h.read()\nx", "manager x", "h x", ""),
        ("try:\n    x = f()\nexcept E as e:\n    x = e\nx", "f E", "x e", ""),
        ("try:\n    x = f()\nexcept E:\n    pass\nx", "f E x", "x", ""),
        ("try:\n    x = f()\nfinally:\n    x", "f x", "x", ""),
        ("match m:\n    case {'k': a, **r} if a > b:\n        r", "m b", "a r", ""),
        ("match m:\n    case [c, *d] | C(c, d):\n        c", "m C", "c d", ""),
        ("[i * k for i in x]", "k x", "", ""),
        ("[w := i for i in x]\nw", "x w", "w", ""),
        ("{a: b for a in x for b in a if c}", "x c", "", ""),
        ("f'{x!r:>{width}} {y}'", "x y width", "", ""),
        ("(y := x) and (z := y)\ny, z", "x z", "y z", ""),
        ("lambda a, b=c: a + b + d", "c d", "", ""),
        ("async def f():\n    await g(x)\nawait f()", "g x", "f", ""),
        ("def f(a, b: T = d, *c, **e) -> R:\n    return a, b, c, e, z", "T d R z", "f", ""),
        ("@deco(x)\ndef f(): ...", "deco x", "f", ""),
        ("def f(): return f()", "", "f", ""),
        ("@deco\ndef f(): return f()", "deco", "f", ""),
        ("def f(): return g()\ndef g(): return K\nK = 3\nf()", "", "f g K", ""),
        ("def f(): return g()\nf()\ndef g(): ...", "g", "f g", ""),
        ("def f():\n    global x\n    x = y", "y", "f x", ""),
        ("def f():\n    global x\n    del x", "x", "f", "x"),
        ("def f():\n    global x\n    x = 1\nf()\nx", "x", "f x", ""),
        ("def f():\n    a = 1\n    def g():\n        nonlocal a\n        a = b\n    return g", "b", "f", ""),
        ("def f():\n    x = 1\n    class A:\n        x = x\n", "x", "f", ""),
        ("class A(B, metaclass=M):\n    x = y\n    z = x\n    def m(self): return x, A", "B M y x", "A", ""),
        ("class A:\n    items = [i for i in n]\n    def __p(self): return __q", "n _A__q", "A", ""),
        ("class A:\n    def m(self): return __class__, super()", "", "A", ""),
        ("class A:\n    x: 'T' = 1\n    def m(self) -> 'list[U]': ...", "T U", "A", ""),
        ("from __future__ import annotations\ndef f(x: T): ...", "T", "annotations f", ""),
        ("x = 1; y = x;", "", "x y", ""),
    ],
)  # fmt: skip
def test_python(cell: str, reads: str, binds: str, deletes: str) -> None:
    """The statements of Python, in the order in which they run."""
    check(cell, reads, binds, deletes)


@pytest.mark.parametrize(
    ("cell", "reads", "binds"),
    [
        ("!ls {folder} $x.y $$HOME {{no}} {a[0:n]}", "folder x a n", ""),
        ("out = !echo {x}", "x", "out"),
        ("!!echo $x", "x", ""),
        ("!echo {x", "", ""),
        ("df?", "", ""),
        ("?df.head", "", ""),
        ("df.head??", "", ""),
        ("%time y = f(x)\ny", "f x", "y"),
        ("%time --no-raise-error y = f(x)\ny", "f x y", "y"),
        ("%timeit -n 10 -r3 y = f(x)", "f x", ""),
        ("%prun -l 5 -s cumulative y = f(x)", "f x", "y"),
        ("%lprun -f g -m mod f(x)", "g f x", ""),
        ("%memit -r 3 f(x)", "f x", ""),
        ("y = %rpc_call -s gpu -- f(x)", "f x", "y"),
        ("y = %rpc_call --timeout 5 f(x)", "f x", "y"),
        ("%rpc_call -i a, b -o c f(x)", "f x", ""),
        ("%%rpc_call -i a, b\ny = f(x)", "f x", "y"),
        ("%%time\ny = f(x)\n!ls {z}\n%timeit g(y)\nw = !cat $p", "f x z g p", "y w"),
        ("%%time\n%%capture out\ny = x", "x", "out y"),
        ("%%capture out --no-stderr\ny = x", "x", "out y"),
        ("%%timeit n = x\nn + y\nz = n", "x y", ""),
        ("%%bash --out text\necho $x {y}", "x y", "text"),
        ("%%writefile $name\nimport a\n{x}", "name x", ""),
        ("%%javascript\nfunction f() { return a }", "", ""),
        ("%%R -i df,n -o res\nplot(df)", "df n", "res"),
        ("%unknown -k 3 f(x)", "f x", ""),
        ("%unknown some words of text", "", ""),
        ("%%unknown arg\ny = x", "arg x", "y"),
        ("%%unknown\nSELECT 1 FROM t", "", ""),
        ("%matplotlib inline", "", ""),
        ("%load_ext rpc_magic", "", ""),
        ("%cd $folder", "folder", ""),
        ("%xdel x", "x", ""),
        ("%pinfo x", "", ""),
        ("def f(a):\n    !echo {a} {b}", "b", "f"),
        ("for p in ps:\n    !echo {p}\n    %time f(p)", "ps f", "p"),
    ],
)
def test_shell(cell: str, reads: str, binds: str) -> None:
    """Magics and commands: expansions in their lines, code in their lines and bodies."""
    names = names_in(cell)
    assert {n for n in names.reads if not hasattr(builtins, n)} == set(reads.split())
    assert names.binds == set(binds.split())


@pytest.mark.parametrize(
    ("cell", "reads", "binds", "deletes", "is_dynamic"),
    [
        ("eval('x + y')", "x y", "", "", False),
        ("exec('z = x')", "x", "z", "", False),
        ("exec('z = x', {})", "", "", "", False),
        ("exec('z = x', globals())", "x", "z", "", False),
        ("ns = {}\nexec('z = x', globals(), ns)", "x", "ns z", "", False),
        ("exec('z = x', {}, globals())", "x", "z", "", False),
        ("eval(text)", "text", "", "", True),
        ("globals()['x']", "x", "", "", False),
        ("globals()['x'] = 1", "", "x", "", False),
        ("globals()['x'] += 1", "x", "x", "", False),
        ("del globals()['x']", "x", "", "x", False),
        ("globals()[x]", "x", "", "", True),
        ("globals()[f'v_{n}'] = m", "n m", "", "", False),
        ("globals()[x] += 1", "x", "", "", True),
        ("globals().get('x')", "x", "", "", False),
        ("globals().pop('x', None)", "x", "", "x", False),
        ("globals().update(a=1)", "", "a", "", False),
        ("globals().update({'a': b})", "b", "a", "", False),
        ("globals().update(d)", "d", "", "", True),
        ("'x' in globals()", "x", "", "", False),
        ("locals()['x'], vars()['y']", "x y", "", "", False),
        ("def f(): return locals()", "", "f", "", False),
        ("vars(x)", "x", "", "", False),
        ("get_ipython().user_ns['x'] = 1", "", "x", "", False),
        ("get_ipython().run_cell('x = y')", "y", "x", "", False),
        ("df.query('a > @lim and b < @o.n')", "df lim o", "", "", False),
        ("df.query(f'a > @lim and b < {x}')", "df lim x", "", "", False),
        ("df.query('a > b')", "df", "", "", False),
        ("df.eval('c = a * @k')", "df k", "", "", False),
        ("pd.eval('x + y')", "pd x y", "", "", False),
        ("duckdb.sql('SELECT a FROM df JOIN other USING (k)')", "duckdb df other", "", "", False),
        ("timeit.timeit('f(x)', setup='from __main__ import f')", "timeit f x __main__", "", "", False),
        ("cProfile.run('f(10)')", "cProfile f", "", "", False),
        ("asyncio.run('x')", "asyncio", "", "", False),
        ("ne.evaluate('x * y')", "ne x y", "", "", False),
        ("import __main__\n__main__.x, __main__.y.z", "x y", "__main__", "", False),
        ("import __main__\n__main__.x = 1", "", "x __main__", "", False),
        ("import __main__ as m", "", "m", "", True),
        ("from __main__ import x as y", "x", "y", "", False),
        ("%run script.py", "", "", "", True),
        ("%reset -f", "", "", "", True),
    ],
)
def test_names_in_text(cell: str, reads: str, binds: str, deletes: str, is_dynamic: bool) -> None:
    """Names reached through text; what the text does not show makes the cell dynamic."""
    assert check(cell, reads, binds, deletes).dynamic is is_dynamic


@pytest.mark.parametrize(
    ("cell", "reads", "all_outputs"),
    [
        ("_ + __ + ___", "_ __ ___", False),
        ("_5, _i5", "_5 _i5", False),
        ("Out[5]", "Out _5", False),
        ("Out[n]", "Out n", True),
        ("Out", "Out", True),
        ("In[3]", "In", False),
    ],
)
def test_outputs(cell: str, reads: str, all_outputs: bool) -> None:
    """``Out[5]`` mentions one output, ``Out`` all of them."""
    assert check(cell, reads).all_outputs is all_outputs


def test_star_imports() -> None:
    """Modules of star imports are told as written."""
    assert cell_names("from a.b import *\nfrom ..c import *\nfrom . import *").star_imports == (
        "a.b",
        "..c",
        ".",
    )


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is new in Python 3.12")
def test_type_parameters() -> None:
    """Type parameters belong to their definition; an alias is a name."""
    check("type X[T] = list[T] | Y\ndef f[T: B](x: T) -> T: ...\nclass C[T](G[T]): a: T", "Y B G", "X f C")


def test_syntax_error_propagates() -> None:
    """Text that is no Python is the caller's to report, with the file name given."""
    with pytest.raises(SyntaxError) as caught:
        cell_names("x = = 1", filename="<cell 3>")
    assert caught.value.filename == "<cell 3>"


def test_parsing_warns_of_nothing() -> None:
    """An invalid escape sequence warns when the cell itself is compiled, and only then."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cell_names("p = '\\d' + x").reads == {"x"}


def test_tree_is_left_alone() -> None:
    """The names of a parsed cell are the same as of its text, and the tree is not changed."""
    source = "x = f(y)\nclass A: z = x"
    tree = ast.parse(source)
    before = ast.dump(tree)
    assert cell_names_of_tree(tree) == cell_names(source)
    assert ast.dump(tree) == before


@pytest.mark.parametrize(
    ("source", "index"),
    [
        ("", 0),
        ("x = 1", 0),
        ("'text'", 1),
        ("f'text'", 0),
        ("3", 0),
        ("'doc'\nfrom __future__ import annotations\nimport a", 2),
        ("from __future__ import annotations\nfrom __future__ import division", 2),
        ("import a\nfrom __future__ import annotations", 0),
    ],
)
def test_prelude_index(source: str, index: int) -> None:
    """A statement put there comes after everything that must be first."""
    assert prelude_index(ast.parse(source)) == index


def test_help() -> None:
    """A name that help is asked of is no read, and known; %who lists all names."""
    names = cell_names(
        "get_ipython().run_line_magic('pinfo', 'x.y')\nz = 1\nget_ipython().run_line_magic('pinfo2', 'z')"
    )
    assert (names.reads, names.asks, names.asks_all) == (frozenset(), {"x"}, False)
    names = cell_names("get_ipython().run_line_magic('whos', 'int')")
    assert (names.reads, names.asks_all, names.dynamic) == (frozenset(), True, False)
