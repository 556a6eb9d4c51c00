"""Runs one file of dill's own tests, statement by statement: ``dill_case_runner.py dill|ours FILE REPORT``.

The file's statements run in ``__main__``, as when the file is run as a program; those of its last ``if __name__``
are cases of their own, and a case that fails does not end the others. With ``ours``, dill's functions that
pickle are replaced. REPORT gets a JSON object: the case, and its error or null.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path


def use_ours():
    """Put rpc_magic's functions in the place of dill's."""
    import dill
    from dill import _dill

    import rpc_magic

    def dumps(obj, *_, **__):
        return rpc_magic.dumps(obj)

    def dump(obj, file, *_, **__):
        file.write(rpc_magic.dumps(obj))

    def loads(data, *_, **__):
        return rpc_magic.loads(data)

    def load(file, *_, **__):
        return rpc_magic.loads(file.read())

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
            return rpc_magic.loads(self._source.read())

    for name, ours in list(locals().items()):
        if name in ("dumps", "dump", "loads", "load", "copy"):
            setattr(_dill, name, ours)  # `dill.pickles` and `dill.check` find them here
            setattr(dill, name, ours)
    dill.Pickler, dill.Unpickler = Pickler, Unpickler


def cases_of(tree):
    """Yield (name, statement): those of the file, and in the place of its last `if`, those inside it."""
    for statement in tree.body:
        if isinstance(statement, ast.If) and "__name__ == '__main__'" in ast.unparse(statement.test):
            if isinstance(statement.test, ast.Compare):
                yield from ((ast.unparse(inner).splitlines()[0], inner) for inner in statement.body)
            continue
        yield ast.unparse(statement).splitlines()[0], statement


def main():
    which, file, report = sys.argv[1:]
    sys.argv[:] = [file]
    sys.path.insert(0, str(Path(file).parent))
    if which == "ours":
        use_ours()
    space = sys.modules["__main__"].__dict__
    for name in [name for name in space if name[:2] != "__" and name not in ("ast", "json")]:
        if name not in ("cases_of", "traceback"):
            del space[name]
    run(space, file, report)


def run(space, file, report):
    raise NotImplementedError
