"""The walk over a cell in the order in which it runs.

*Theory of operation.* `settled` holds the names whose value from before the cell is certainly gone: bound, or
deleted, by code that has run on every way here. A load of any other name is a read. Code that may or may not
run is walked on a copy of `settled`. (A name that is deleted stays settled: what it held before the cell
cannot come back.)

The body of a function does not run where it stands but, at the earliest, at the next thing that can run
code: a call, an operator, an attribute, a loop. Until then it waits in `_waiting`, so that helpers may stand
in any order. When it is walked, it reads every global name that is not settled at that time. A body that
nothing in the cell can have run is walked with what is settled at the cell's end.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rpc_magic.namespace.scopes import Kind, Scope

Handler = Callable[["Walk", ast.AST], None]

HANDLERS: dict[type[ast.AST], Handler] = {}
"""What is done at a node; other nodes have their children walked, in the order of their fields."""

LEAVES = (ast.Raise, ast.Return, ast.Break, ast.Continue)
"""Statements after which the next one does not run."""

RUNS_CODE: frozenset[type[ast.AST]] = frozenset({
    ast.Attribute, ast.Await, ast.BinOp, ast.Call, ast.Compare, ast.FormattedValue, ast.Starred,
    ast.Subscript, ast.UnaryOp, ast.Yield, ast.YieldFrom,
})  # fmt: skip
"""Nodes that can run a function which the cell defined before; statements see to it themselves."""


class Walk:
    """What is known of a cell so far, and the place at which the walk is.

    Not thread-safe: one walk serves one cell.

    Attributes:
        reads: names read so far.
        binds: names bound at module scope so far.
        deletes: names deleted so far.
        asks: names of which help was asked so far.
        asks_all: all names were listed.
        star_imports: modules of which every public name was imported.
        is_dynamic: names were read or bound that the text does not show.
        reads_outputs: the history of outputs was used other than by a literal index.
        settled: names whose value from before the cell is certainly gone.
        scope: the block in which the walk is.
        is_deferred: the walk is in the body of a function, which may run any number of times.
        under_construction: global names of the classes in whose bodies the walk is.
    """

    __slots__ = (
        "_waiting", "asks", "asks_all", "binds", "deletes", "is_deferred", "is_dynamic", "reads", "reads_outputs",
        "scope", "settled", "star_imports", "under_construction",
    )  # fmt: skip

    def __init__(self) -> None:
        self.reads: set[str] = set()
        self.binds: set[str] = set()
        self.deletes: set[str] = set()
        self.asks: set[str] = set()
        self.asks_all = False
        self.star_imports: list[str] = []
        self.is_dynamic = False
        self.reads_outputs = False
        self.settled: set[str] = set()
        self.scope = Scope(Kind.MODULE)
        self.is_deferred = False
        self.under_construction: list[str] = []
        self._waiting: list[tuple[Scope, Iterable[ast.AST], set[str]]] = []

    # ------------------------------------------------------------ names

    def read(self, name: str) -> None:
        """Note a load of `name` at the place where the walk is."""
        scope = self.scope
        name = scope.mangled(name)
        if scope.kind is Kind.CLASS and name in scope.owned:
            # A class body looks in itself first, then in the module, and never in functions around it.
            if name in scope.settled:
                # Methods may run now, before their class has its name.
                for _, _, own_names in self._waiting:
                    own_names.clear()
                return
        elif not scope.is_global(name):
            return
        if name not in self.settled:
            self.reads.add(name)

    def bind(self, name: str, scope: Scope | None = None) -> None:
        """Note that `name` is bound in `scope`, where the walk is if not given."""
        if scope is None:
            scope = self.scope
        name = scope.mangled(name)
        if scope.is_global(name):
            self.binds.add(name)
            if not self.is_deferred:
                self.settled.add(name)
        elif scope.kind is Kind.CLASS:
            scope.settled.add(name)

    def delete(self, name: str) -> None:
        """Note that `name` is deleted, which needs its value to be there."""
        scope = self.scope
        name = scope.mangled(name)
        if scope.is_global(name):
            self.read(name)
            self.deletes.add(name)
            if not self.is_deferred:
                self.settled.add(name)
        elif scope.kind is Kind.CLASS:
            scope.settled.discard(name)

    # ------------------------------------------------------------ nodes

    def visit(self, node: ast.AST | None) -> None:
        """Walk one node; None, an absent part, is nothing."""
        if node is None:
            return
        kind = type(node)
        handler = HANDLERS.get(kind)
        if handler is not None:
            handler(self, node)
        else:
            for child in ast.iter_child_nodes(node):
                self.visit(child)
        if self._waiting and kind in RUNS_CODE:
            self.run_waiting()

    def visit_all(self, nodes: Iterable[ast.AST | None]) -> None:
        """Walk nodes that run one after the other."""
        for node in nodes:
            self.visit(node)

    def branch(self, nodes: Iterable[ast.AST | None]) -> set[str] | None:
        """Walk nodes that may not run, and leave `settled` as it was.

        Returns:
            What is settled at their end; None when their end is never reached (``raise``, ``break`` …).
        """
        before, class_before = self.settled, self.scope.settled
        self.settled = set(before)
        if self.scope.kind is Kind.CLASS:
            self.scope.settled = set(class_before)
        last = None
        for node in nodes:
            self.visit(node)
            last = node
        after = self.settled
        self.settled, self.scope.settled = before, class_before
        return None if isinstance(last, LEAVES) else after

    def settle_common(self, ends: Iterable[set[str] | None]) -> None:
        """Settle what every way to here has settled: `ends` are results of `branch`, one always taken."""
        reached = [end for end in ends if end is not None]
        if reached:
            self.settled |= set.intersection(*reached)

    # ------------------------------------------------------------ functions

    def defer(self, scope: Scope, body: Iterable[ast.AST], own_names: Iterable[str] = ()) -> None:
        """Walk a function's body when it can run first.

        Args:
            scope: the function's block.
            body: its nodes.
            own_names: global names that are bound before anything can get at the function. A decorator that
                runs the function at once is not thought of: then every recursive function under a decorator
                would read its former self.
        """
        if self.is_deferred:
            with self.inside(scope):
                self.visit_all(body)
        else:
            self._waiting.append((scope, body, set(own_names)))

    def run_waiting(self) -> None:
        """Walk the bodies that wait: here something can run them."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        settled = self.settled
        self.is_deferred = True
        for scope, body, own_names in waiting:
            self.settled = settled if own_names <= settled else settled | own_names
            with self.inside(scope):
                self.visit_all(body)
        self.settled = settled
        self.is_deferred = False

    @contextmanager
    def inside(self, scope: Scope) -> Iterator[None]:
        """Walk what follows in another block."""
        outer, self.scope = self.scope, scope
        try:
            yield
        finally:
            self.scope = outer
