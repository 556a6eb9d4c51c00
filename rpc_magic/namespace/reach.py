"""What can be reached from the names that a cell reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rpc_magic.namespace.references import referenced_names

__all__ = ["is_bookkeeping", "reach"]

# Names that every shell has of its own, whatever they hold.
_ALWAYS = frozenset({
    "__annotations__", "__builtin__", "__builtins__", "__doc__", "__file__", "__loader__", "__name__",
    "__package__", "__session__", "__spec__", "__vsc_ipynb_file__", "_dh", "_ih", "_oh", "get_ipython",
})  # fmt: skip

# Names of the shell's that users take for their own things now and then: the value decides.
_BY_TYPE: dict[str, type] = {"In": list, "Out": dict, "_i": str, "_ii": str, "_iii": str}
_BY_MODULE: dict[str, tuple[str, ...]] = {
    "exit": ("IPython", "ipykernel", "_sitebuiltins"),
    "quit": ("IPython", "ipykernel", "_sitebuiltins"),
    "open": ("IPython", "ipykernel", "_io", "io"),
    "display": ("IPython", "ipykernel"),
}


def is_bookkeeping(name: str, value: object) -> bool:
    """Return whether `name` is kept by the shell itself, so that every session has its own.

    The last results (``_``, ``__``, ``___``, ``_5``) are not: they are values of the user's. Nor are names of
    the shell's that the user bound to something else, as ``exit = 3``.

    Args:
        name: a name of the namespace.
        value: what it holds.
    """
    if name in _ALWAYS:
        return True
    wanted = _BY_TYPE.get(name)
    if wanted is not None:
        return type(value) is wanted
    packages = _BY_MODULE.get(name)
    if packages is not None:
        # Functions tell their module themselves; ExitAutocall and its like by their class.
        module = getattr(value, "__module__", None) if callable(value) else None
        return isinstance(module, str) and module.partition(".")[0] in packages
    return name.startswith("_i") and name[2:].isdecimal() and type(value) is str


def reach(names: Iterable[str], namespace: Mapping[str, object]) -> dict[str, object]:
    """Return everything that code which uses `names` can reach by name.

    Takes the names, the names that the code behind their values refers to (`referenced_names`), and so on.
    What is not reached is not touched, and of what is reached only as much is looked at as
    `referenced_names` says.

    Args:
        names: where to start, as the reads of a cell.
        namespace: the globals of the notebook.

    Returns:
        Names to values, those asked for first, each as it is in `namespace`. Names that `namespace` lacks
        (builtins, misspelt ones) and the shell's bookkeeping are left out. Thread-safe as `referenced_names`
        is.
    """
    found: dict[str, object] = {}
    todo = list(dict.fromkeys(names))
    for name in todo:  # grows while it runs: breadth first
        if name in found or name not in namespace:
            continue
        value = namespace[name]
        if is_bookkeeping(name, value):
            continue
        found[name] = value
        # Sorted, since the order of a set differs from process to process.
        todo.extend(sorted(referenced_names(value, namespace).difference(found)))
    return found
