"""Each state is read, set back and set again, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SECONDS = 100 * float(os.environ.get("RPC_MAGIC_TEST_TIME_FACTOR", "1"))

COMMON = """
import os, random, sys, warnings, logging, decimal
import numpy
from IPython.core.interactiveshell import InteractiveShell
from rpc_magic import serial
from rpc_magic.surroundings import Surroundings

shell = InteractiveShell.instance()
surroundings, known = Surroundings(shell), {}
first = surroundings.news({}, is_here=True)
surroundings.news(known, is_here=True)
assert surroundings.news(known, is_here=True) == {}

def changed():
    return surroundings.news(known, is_here=True)

def back():
    surroundings.take(first, known, is_here=True)
"""
STATES = {
    "random": ("random.seed(1)", "random.random()"),
    "numpy.random": ("numpy.random.seed(1)", "numpy.random.rand()"),
    "numpy": (
        "numpy.set_printoptions(precision=2)\nnumpy.seterr(divide='raise')",
        "str(numpy.array([1/3])), numpy.geterr()",
    ),
    "pandas": ("pandas.set_option('display.max_rows', 5)", "pandas.get_option('display.max_rows')"),
    "matplotlib": ("matplotlib.rcParams['figure.figsize'] = (3, 2)", "matplotlib.rcParams['figure.figsize']"),
    "decimal": ("decimal.getcontext().prec = 5", "decimal.Decimal(1) / 3"),
    "logging": ("logging.basicConfig(level=20, format='%(message)s!', stream=sys.stdout)", "logs()"),
    "shell": (
        "shell.ast_node_interactivity = 'all'\nshell.run_line_magic('precision', '2')",
        "shell.ast_node_interactivity, shell.display_formatter.formatters['text/plain'].float_precision",
    ),
    "folder": ("os.chdir('/')", "os.getcwd()"),
    "environment": (
        "os.environ['NEW'] = 'x'\nos.environ.pop('HOME', None)",
        "os.environ.get('NEW'), os.environ.get('HOME')",
    ),
}
FUNCTIONS = """
def logs():
    record = logging.LogRecord('', 20, '', 1, 'said', (), None)
    return logging.root.level, [one.format(record) for one in logging.root.handlers]
"""


def run(program: str) -> None:
    subprocess.run([sys.executable, "-c", program], check=True, timeout=SECONDS)


@pytest.mark.parametrize("name", STATES)
def test_a_state_is_told_and_set(name: str) -> None:
    """What a cell sets is told, for itself; set back by the other side it is as before, and then as the cell set it."""
    change, look = STATES[name]
    look = f"({look})"
    library = f"import {name}\n" if name in {"pandas", "matplotlib"} else ""
    program = f"""
{library}{COMMON}{FUNCTIONS}
chance = {name.endswith("random")}
before = None if chance else {look}
{change}
told = changed()
assert {name!r} in told, told.keys()
after = {look}
assert chance or after != before, after
back()
assert chance or {look} == before, ({look}, before)
surroundings.take({{{name!r}: told[{name!r}]}}, known, is_here=True)
assert {look} == after, ({look}, after)
"""
    run(program)


def test_what_is_each_sides_own() -> None:
    """A folder is none of another machine's, chance is not shared by cells that run at once, and junk costs nothing."""
    program = f"""
{COMMON}
os.chdir('/'); random.seed(1)
told = surroundings.news({{}}, is_here=False, is_alone=False)
assert not {{'folder', 'environment', 'random', 'numpy.random'}} & told.keys()
state = random.getstate()
surroundings.take({{'folder': serial.dumps('/usr'), 'random': first['random']}}, {{}}, is_here=False, is_alone=False)
assert (os.getcwd(), random.getstate()) == ('/', state)
surroundings.take({{'folder': b'no pickle', 'numpy': serial.dumps(3), 'unknown': first['random']}}, known, is_here=True)
assert os.getcwd() == '/'
"""
    run(program)


@pytest.mark.parametrize(("text", "loads"), [(None, False), ("pandas.x", True), ("df", False)])
@pytest.mark.parametrize("is_session", [False, True])
def test_a_library_that_is_not_loaded(text: str | None, *, loads: bool, is_session: bool) -> None:
    """Its options wait until it is, at a client; a session loads it for them. What is the default is no reason."""
    loads = loads or (is_session and text is not None)
    program = f"""
{COMMON}
surroundings = Surroundings(shell, is_session={is_session})
told = {{'pandas': serial.dumps({{'display.max_rows': 7}}), 'matplotlib': serial.dumps({{}})}}
surroundings.take(told, known, is_here=True, text={text!r})
assert ('pandas' in sys.modules) is {loads}
assert 'matplotlib' not in sys.modules
import pandas
surroundings.settle()
assert pandas.get_option('display.max_rows') == 7
assert 'pandas' not in surroundings.news({{**known, 'pandas': {{'display.max_rows': 7}}}}, is_here=True)
"""
    run(program)


def test_filters_of_libraries_stay() -> None:
    """The other side has not loaded what set a filter here: it is not taken away for that."""
    program = f"""
import warnings
warnings.filterwarnings('ignore', 'of a library')
{COMMON}
surroundings.take({{'warnings': serial.dumps((('ignore', None, 'Warning', None, 0),))}}, known, is_here=True)
warnings.filterwarnings('ignore', 'set here')
assert 'warnings' in changed()
surroundings.take({{'warnings': serial.dumps(())}}, known, is_here=True)
texts = [entry[1] and entry[1].pattern for entry in warnings.filters if entry[2] is Warning]
assert texts[0] == 'set here' and 'of a library' in texts and None not in texts, texts
"""
    run(program)
