"""A notebook to define things in, and a second process to send them to."""

from __future__ import annotations

import itertools
import linecache
import pickle
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from rpc_magic import serial

ROOT = Path(__file__).resolve().parents[2]

_PEER = """
import pickle, struct, sys, traceback, types
for name in ("msgspec", "xxhash"):  # another Python's environment may lack them; this needs neither
    try: __import__(name)
    except ImportError: sys.modules[name] = types.ModuleType(name)
sys.path.insert(0, sys.argv[1])
from rpc_magic import serial
source, sink = sys.stdin.buffer, sys.stdout.buffer
sys.stdout = sys.stderr
home = sys.modules["__main__"].__dict__
received = {}
while head := source.read(8):
    op, buffers, name, code = pickle.loads(source.read(struct.unpack("<Q", head)[0]))
    try:
        if op == "forget":
            received.clear(); answer = ("ok", serial.encode(None))
        else:
            thing = serial.decode([bytearray(b) for b in buffers], namespace=home)
            if op == "call":
                thing = thing()
            elif op == "keep":
                received[name] = thing
                thing = None
            elif op == "apply":
                thing = thing(received[name])
            answer = ("ok", [bytes(b) for b in serial.encode(thing, namespace=home, code=code)])
    except BaseException as error:
        answer = ("error", traceback.format_exc())
    data = pickle.dumps(answer)
    sink.write(struct.pack("<Q", len(data)) + data)
    sink.flush()
"""


class Notebook:
    """Cells run in a namespace named `__main__`, as in a kernel; their source is known to linecache."""

    _numbers = itertools.count()

    def __init__(self):
        self.namespace = {"__name__": "__main__", "__builtins__": __builtins__}

    def run(self, source):
        source = textwrap.dedent(source)
        name = f"<cell-{next(self._numbers)}>"
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        exec(compile(source, name, "exec", dont_inherit=True), self.namespace)

    def __getitem__(self, name):
        return self.namespace[name]

    def encode(self, value, **options):
        return serial.encode(value, namespace=self.namespace, **options)

    def decode(self, buffers):
        return serial.decode(buffers, namespace=self.namespace)


class Peer:
    """A second Python process that decodes, calls and encodes."""

    def __init__(self, executable=sys.executable):
        self._process = subprocess.Popen(
            [executable, "-c", _PEER, str(ROOT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/"
        )

    def ask(self, notebook, op, value, name="", **options):
        buffers = [bytes(b) for b in notebook.encode(value, **options)]
        data = pickle.dumps((op, buffers, name, options.get("code", "bytecode")))
        self._process.stdin.write(struct.pack("<Q", len(data)) + data)
        self._process.stdin.flush()
        (size,) = struct.unpack("<Q", self._process.stdout.read(8))
        status, answer = pickle.loads(self._process.stdout.read(size))
        assert status == "ok", answer
        return notebook.decode(answer)

    def call(self, notebook, function, **options):
        """Call a function there, return its result."""
        return self.ask(notebook, "call", function, **options)

    def echo(self, notebook, value, **options):
        """Send a value there and back."""
        return self.ask(notebook, "echo", value, **options)

    def keep(self, notebook, name, value):
        """Send a value there, to stay under a name."""
        self.ask(notebook, "keep", value, name)

    def apply(self, notebook, function, name):
        """Call a function there with a kept value."""
        return self.ask(notebook, "apply", function, name)

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)


@pytest.fixture
def notebook():
    return Notebook()


@pytest.fixture
def other_notebook():
    return Notebook()


@pytest.fixture
def peer():
    process = Peer()
    yield process
    process.close()


@pytest.fixture
def peer_of():
    """Make peers of other executables; all are closed at the end."""
    made = []

    def make(executable):
        made.append(Peer(executable))
        return made[-1]

    yield make
    for process in made:
        process.close()
