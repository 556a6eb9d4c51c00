"""Fetches values that are on a server when a local cell mentions them, before its first statement.

An AST transformer sees each cell. Where the cell mentions names that hold placeholders, it puts one statement before
the first, which fetches them all or raises, so that nothing else of the cell runs. The transformer itself raises
nothing: IPython would silently unregister it.

A mention is a name that the cell reads, or that the functions it reads refer to, transitively; the text that our own
magics send elsewhere is none, nor is the body of a function that a connection's `interact` decorates, nor help (``?``),
nor a name that is only deleted. Code whose names cannot be told
(``eval(text)``) fetches nothing: there `RemoteValue.get` does.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Callable, Iterable
from typing import Any

from rpc_magic.client import Connection, RemoteValue
from rpc_magic.errors import RemoteValueError, RpcMagicError, TransferError
from rpc_magic.namespace import attributes_of_class, cell_names_of_tree, prelude_index
from rpc_magic.notebook.background import Background
from rpc_magic.notebook.binding import bind_fetched, is_synchronised
from rpc_magic.notebook.errors import prepare
from rpc_magic.notebook.figures import show_as_pictures
from rpc_magic.notebook.registry import Registry, Server, address_of
from rpc_magic.notebook.sync import reachable

__all__ = ["HIDDEN", "Fetcher", "Mentions"]

HIDDEN = "_rpc_magic_fetch"
"""Name of the function, in the notebook's namespace, that the statement put before a cell calls."""

_MAGIC_CALLS = frozenset({"run_line_magic", "run_cell_magic"})
_LINE = re.compile(r"(?m)^(\s*(?:[\w.,\[\]'\" ]+=\s*)?)%(\w+)\b.*$")
_INNER = re.compile(r"%(rpc_\w+)\b.*", re.DOTALL)
_CELL = re.compile(r"\s*%%(\w+)")


class Fetcher:
    """Fetches placeholders.

    Args:
        shell: IPython's shell.
        registry: the connected servers.
        background: the background cells; what they are making is waited for.
    """

    def __init__(self, shell: Any, registry: Registry, background: Background) -> None:
        self._shell, self._registry, self._background = shell, registry, background

    def __call__(self, names: Iterable[str]) -> None:
        """Fetch what `names` and the code behind them refer to; bind it.

        Raises:
            RpcMagicError: something of it cannot be had; the text says what and why.
        """
        try:
            names = set(names)
            self._background.wait_for(names)
            for _ in range(1000):  # what is fetched may refer to more
                wanted = self.wanted(names)
                if not wanted:
                    return
                self._fetch(wanted)
        except BaseException as error:
            prepare(error)
            raise

    def bring(self, names: Iterable[str], server: Server, spare: Iterable[str] = ()) -> None:
        """Fetch what `names` and the code behind them refer to and another server has, before it goes to `server`.

        So is what `spare` and the code behind them refer to, but what of that cannot be fetched stays where it is.

        So is a class that was changed on `server`: instances of it that are sent take along what it is here.
        It is fetched together and bound here, so that what it shares stays shared, here and there.

        Raises:
            RpcMagicError: as `__call__`.
        """
        names = list(names)
        for _ in range(1000):
            wanted = self._wanted_elsewhere(names, server)
            if not wanted:
                break
            self._fetch(wanted)
        left: set[str] = set()
        names = list(spare)
        for _ in range(1000):
            wanted = self._wanted_elsewhere(names, server)
            try:
                self._fetch({name: value for name, value in wanted.items() if name not in left})
            except RemoteValueError:
                left |= self._fetch_singly(wanted)
            if left.issuperset(wanted):
                return

    def _wanted_elsewhere(self, names: list[str], server: Server) -> dict[str, RemoteValue]:
        return {
            name: value
            for name, value in self.wanted(names, server.reads).items()
            if self._registry.owner(value) not in {None, server}
            or isinstance(self._registry.placed.get(value), type)
        }

    def _fetch_singly(self, wanted: dict[str, RemoteValue]) -> set[str]:
        """Fetch what can be fetched; return the names of the rest."""
        left = set()
        for name, value in wanted.items():
            if self._shell.user_ns.get(name) is value:  # it did not come with another
                try:
                    self._fetch({name: value})
                except RemoteValueError:
                    left.add(name)
        return left

    def wanted(
        self, names: Iterable[str], reads: dict[str, frozenset[str]] | None = None
    ) -> dict[str, RemoteValue]:
        """Return the placeholders among what `names` and the code behind them refer to; `reads` as for `reachable`."""
        namespace = self._shell.user_ns
        if not self._registry.placeholders(namespace):
            return {}
        found = reachable(names, namespace, reads)
        placed = self._registry.placed
        wanted = {name: v for name, v in found.items() if type(v) is RemoteValue and v in placed}
        return self._registry.with_mates(wanted, namespace)

    @property
    def is_waiting(self) -> bool:
        """A background cell runs."""
        return self._background.pending.is_any

    def needed(self, names: set[str]) -> list[str]:
        """Return the names for which a cell that mentions `names` has to fetch or to wait."""
        wanted = list(self.wanted(names))
        if not self.is_waiting:
            return wanted
        pending = self._background.pending.among({*names, *reachable(names, self._shell.user_ns)})
        return [*wanted, *sorted(pending)]

    def _fetch(self, wanted: dict[str, RemoteValue]) -> None:
        by_server: dict[str, list[RemoteValue]] = {}
        wanted = {**wanted, **self._changed_classes(wanted)}
        for name, value in wanted.items():
            owner = self._registry.owner(value)
            if owner is None:
                self._shell.user_ns[name] = self._registry.here_instead(name, value)
                continue
            module = self._registry.module_of(value)
            if module is not None:  # it is no value of the session's
                bind_fetched(self._shell, self._registry, owner, [(value, module)])
                continue
            values = by_server.setdefault(owner.name, [])
            if not any(value is other for other in values):
                values.append(value)
        for server_name, values in by_server.items():
            server = self._registry.servers[server_name]
            fetched, here = self._fetch_from(server, values, wanted)
            bind_fetched(self._shell, self._registry, server, fetched, here)
        show_as_pictures(self._shell)

    def _changed_classes(self, wanted: dict[str, RemoteValue]) -> dict[str, RemoteValue]:
        """Return the placeholders of classes that were changed where something is wanted from: they share with it."""
        if not wanted:
            return {}
        owners = [self._registry.owner(value) for value in wanted.values()]
        return {
            name: value
            for name, value in self._registry.placeholders(self._shell.user_ns).items()
            if isinstance(self._registry.placed.get(value), type) and self._registry.owner(value) in owners
        }

    def _fetch_from(
        self, server: Server, values: list[RemoteValue], wanted: dict[str, RemoteValue]
    ) -> tuple[list[tuple[RemoteValue, Any]], list[tuple[Any, Any]]]:
        """Fetch values of one server, variables in one answer so that what they share stays shared.

        Returns:
            Placeholders with values; and, of other variables that share objects with these, what they hold here with
            what came of them.
        """
        keys = {address_of(value)[1]: value for value in values}
        variables = [key[1:] for key in keys if key.startswith("=")]
        name = next(n for n, v in wanted.items() if v is values[0])
        names = ", ".join(n for n, v in wanted.items() if any(v is value for value in values))
        connection = server.connection
        try:
            with server.progress.fetching(names):
                pulled = connection.pull_all(variables, carry=False, mates=True)
                fetched = [(keys[f"={variable}"], pulled.pop(variable)) for variable in variables]
                more, here = self._mates(server, pulled)
                fetched += more
                kept = [value for key, value in keys.items() if not key.startswith("=")]
                fetched += [(value, connection.fetch(value)) for value in kept]
        except TransferError as error:
            raise RemoteValueError(
                f"the cell mentions a value that is on {server.name} and cannot be fetched: {error}. "
                f"Use it there, in a %%rpc_call cell"
            ) from error
        except RpcMagicError as error:
            raise RemoteValueError(f"{names} is on {server.name} and cannot be fetched: {error}") from error
        except ImportError as error:
            raise RemoteValueError(
                f"{name} is on {server.name} and cannot be loaded here: {error}. Install that package here, or use it "
                "there, in a %%rpc_call cell"
            ) from error
        for _, value in fetched:
            if type(value) is RemoteValue:  # it is over a limit, or no plain data
                raise RemoteValueError(f"{names} is on {server.name} and cannot be fetched: {value!r}")
        return fetched, here

    def _mates(
        self, server: Server, pulled: dict[str, Any]
    ) -> tuple[list[tuple[RemoteValue, Any]], list[tuple[Any, Any]]]:
        """Sort variables that came unasked: those that are placeholders here, and those that hold the same object."""
        namespace = self._shell.user_ns
        fetched, here = [], []
        for name, fresh in pulled.items():
            if name.endswith("."):
                here += self._attributes(server, name[:-1], fresh)
                continue
            value = namespace.get(name)
            if type(value) is RemoteValue:
                if value in self._registry.placed and address_of(value) == (server.ticket, f"={name}"):
                    fetched.append((value, fresh))
            elif server.anchors.is_noted(name, value):
                here.append((value, fresh))
        return fetched, here

    def _attributes(self, server: Server, name: str, fresh: dict[str, Any]) -> list[tuple[Any, Any]]:
        """Return the objects that a class has in its attributes here, with those that came of them."""
        namespace = self._shell.user_ns
        value = namespace.get(name)
        if not isinstance(value, type) or not is_synchronised(server, namespace, name):
            return []
        mine = attributes_of_class(value) or {}
        return [(mine[one], new) for one, new in fresh.items() if type(mine.get(one)) is type(new)]


class Mentions(ast.NodeTransformer):
    """The transformer; one of `shell.ast_transformers`.

    Args:
        shell: IPython's shell.
        registry: the connected servers.
        fetcher: is called before cells that mention placeholders.
        before: called before each cell, to bind what background calls have brought.
    """

    def __init__(
        self, shell: Any, registry: Registry, fetcher: Fetcher, before: Callable[[], None] = lambda: None
    ) -> None:
        self._shell, self._registry, self._fetcher, self._before = shell, registry, fetcher, before

    def visit(self, node: ast.AST) -> Any:
        """Put the fetching statement into a cell that needs it."""
        try:
            self._before()
            if isinstance(node, (ast.Module, ast.Expression)):
                return self._with_fetch(node)
        except Exception:  # noqa: BLE001 - IPython would unregister it; the cell meets a RemoteValue, which says what it is
            return node
        return node

    def _with_fetch(self, node: ast.Module | ast.Expression) -> ast.AST:
        namespace = self._shell.user_ns
        if not self._registry.placeholders(namespace) and not self._fetcher.is_waiting:
            return node
        wanted = self._fetcher.needed(self.mentioned(node))
        if not wanted:
            return node
        namespace[HIDDEN] = self._shell.user_ns_hidden[HIDDEN] = self._fetcher
        if isinstance(node, ast.Expression):  # the statement of %%time, %timeit: there is nowhere to put it
            self._fetcher(wanted)
            return node
        arguments = ast.Tuple([ast.Constant(name) for name in wanted], ast.Load())
        call = ast.Expr(ast.Call(ast.Name(HIDDEN, ast.Load()), [arguments], []))
        place = prelude_index(node)
        ast.fix_missing_locations(ast.copy_location(call, node.body[min(place, len(node.body) - 1)]))
        node.body.insert(place, call)
        return node

    def mentioned(self, node: ast.Module | ast.Expression) -> set[str]:
        """Return the names that a cell mentions."""
        tree = node if isinstance(node, ast.Module) else ast.Module([ast.Expr(node.body)], [])
        if any(isinstance(one, ast.Attribute) and one.attr in _MAGIC_CALLS for one in ast.walk(tree)):
            without = _WithoutOurs(frozenset(self._registry.servers)).visit(copy.deepcopy(tree))
            tree = ast.fix_missing_locations(without)
        if any(isinstance(one, ast.Attribute) and one.attr == "interact" for one in ast.walk(tree)):
            tree = _WithoutInteract(self._shell.user_ns, tree).visit(copy.deepcopy(tree))
        names = cell_names_of_tree(tree)
        loaded = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        return {name for name in names.reads if name not in names.deletes or name in loaded}


class _WithoutInteract(ast.NodeTransformer):
    """Empties functions that a connection's `interact` decorates: they run there, where their values are.

    Args:
        namespace: the notebook's variables.
        tree: the cell's.
    """

    def __init__(self, namespace: dict[str, Any], tree: ast.Module) -> None:
        self._names = {name for name, value in list(namespace.items()) if type(value) is Connection}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and self._is_connection(node.value):
                self._names |= {target.id for target in node.targets if isinstance(target, ast.Name)}

    def _is_connection(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Name):
            return node.id in self._names
        function = node.func if isinstance(node, ast.Call) else None
        return getattr(function, "attr", getattr(function, "id", "")) in {"connect", "connection"}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        for one in node.decorator_list:
            called = one.func if isinstance(one, ast.Call) else one
            if (
                isinstance(called, ast.Attribute)
                and called.attr == "interact"
                and self._is_connection(called.value)
            ):
                node.body = [ast.copy_location(ast.Pass(), node)]
        return node


class _WithoutOurs(ast.NodeTransformer):
    """Takes the calls of our magics out of a cell, also where they stand in the text of other magics."""

    def __init__(self, aliases: frozenset[str]) -> None:
        self._aliases = aliases

    def _is_ours(self, name: object) -> bool:
        return isinstance(name, str) and (name.startswith("rpc_") or name in self._aliases)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        function = node.func
        if not (isinstance(function, ast.Attribute) and function.attr in _MAGIC_CALLS):
            return node
        texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
        if texts and self._is_ours(texts[0]):
            return ast.copy_location(ast.Constant(None), node)
        for argument in node.args[1:]:
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                argument.value = self._cleaned(argument.value)
        return node

    def _cleaned(self, text: str) -> str:
        """Return the text of another magic without what our magics would send elsewhere."""
        cell = _CELL.match(text)
        if cell is not None:
            if self._is_ours(cell[1]):
                return ""
            head, _, body = text.partition("\n")
            return f"{head}\n{self._cleaned(body)}"
        text = _LINE.sub(lambda m: f"{m[1]}None" if self._is_ours(m[2]) else m[0], text)
        return _INNER.sub("None", text) if "\n" not in text else text
