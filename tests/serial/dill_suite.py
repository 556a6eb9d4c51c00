"""Runs one file of dill's own tests, case by case: ``dill_suite.main(which, file, report)``.

The statements of the file run in ``__main__``, as when the file is run as a program. Each statement is a case, in
the ``if __name__ == '__main__'`` each statement inside it; one that fails does not end the others. When `which` is
"ours", dill's functions that pickle are replaced by ours. The report, a file, gets a JSON object: case to error.
"""

from __future__ import annotations

import ast
import io
import json
import os
import sys
import traceback
from pathlib import Path

_NAME_LENGTH = 60


def use_ours():
    """Put rpc_magic's functions in the place of dill's; options of dill's have no meaning here."""
    import dill
    from dill import _dill

    import rpc_magic

    DillsUnpickler = dill.Unpickler

    def dumps(obj, *_, **__):
        return rpc_magic.dumps(obj)

    def dump(obj, file, *_, **__):
        file.write(rpc_magic.dumps(obj))

    def loads(data, *_, **__):
        try:
            return rpc_magic.loads(data)
        except rpc_magic.ProtocolError:  # written by `dill.dump_module`, which has its own pickler
            return DillsUnpickler(io.BytesIO(data)).load()

    def load(file, *_, **__):
        return loads(file.read())

    def copy(obj, *_, **__):
        return rpc_magic.loads(rpc_magic.dumps(obj))

    class Pickler(dill.Pickler):
        def __init__(self, file, *args, **options):
            super().__init__(file, *args, **options)
            self._target = file

        def dump(self, obj):
            self._target.write(rpc_magic.dumps(obj))

    class Unpickler:
        def __init__(self, file, *_, **__):
            self._source = file

        def load(self):
            return loads(self._source.read())

    for name, ours in {"dumps": dumps, "dump": dump, "loads": loads, "load": load, "copy": copy}.items():
        setattr(_dill, name, ours)  # `dill.pickles` and `dill.check` find them here
        setattr(dill, name, ours)
    dill.Pickler, dill.Unpickler = Pickler, Unpickler


def cases_of(tree):
    """Yield the name and the statement of each case."""
    for statement in tree.body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "__name__ == '__main__'":
            statements = statement.body
        else:
            statements = [statement]
        for one in statements:
            parts = one.body if isinstance(one, ast.With) else [one]  # its warnings are held off anyway
            yield from ((" ".join(ast.unparse(part).split())[:_NAME_LENGTH], part) for part in parts)


def main(which, file, report):
    space = sys.modules["__main__"].__dict__
    space.pop("main")  # a file may save the whole of its namespace
    space["__file__"] = file
    sys.argv[:] = [file]
    sys.path.insert(0, str(Path(file).parent))
    if which == "ours":
        use_ours()
    outcome = {}
    for name, statement in cases_of(ast.parse(Path(file).read_text())):
        case = name
        while case in outcome:
            case += "'"
        try:
            exec(compile(ast.Module([statement], []), file, "exec", dont_inherit=True), space)
            outcome[case] = None
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)
            line = next((f"{f.line}" for f in reversed(where) if f.filename == file), "")
            outcome[case] = f"{type(error).__name__}: {error} in {line!r}"
    Path(report).write_text(json.dumps(outcome))
    sys.stdout.flush()
    os._exit(0)  # threads of a test that failed do not end
