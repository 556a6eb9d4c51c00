"""By reference or by value: whether the other side can import an object by name."""

from __future__ import annotations

import sys
import types
from typing import Any

__all__ = ["MAIN_NAMES", "is_importable_module", "locate", "public_name", "type_constants"]

MAIN_NAMES = frozenset({"__main__", "__mp_main__"})
"""Modules that are another one in each process."""

type_constants: dict[Any, str] = {
    value: name
    for name, value in vars(types).items()
    if isinstance(value, type) and value.__module__ == "builtins"
}
"""Types of the interpreter that only the module `types` gives a name to, as NoneType and CodeType."""


def _is_by_value(module_name: str) -> bool:
    """Tell whether the user has asked cloudpickle to send a module, or a package it is in, by value."""
    cloudpickle = sys.modules.get("cloudpickle")
    if cloudpickle is None:
        return False
    ask = getattr(cloudpickle, "list_registry_pickle_by_value", None)
    registered = ask() if ask is not None else ()
    return bool(registered) and any(f"{module_name}.".startswith(f"{name}.") for name in registered)


def is_importable_module(module: types.ModuleType) -> bool:
    """Tell whether ``import`` on the other side can be expected to find the module."""
    name = module.__dict__.get("__name__")
    if not isinstance(name, str) or name in MAIN_NAMES or sys.modules.get(name) is not module:
        return False
    if _is_by_value(name):
        return False
    if module.__dict__.get("__spec__") is not None or name in sys.builtin_module_names:
        return True
    parent = name.rpartition(".")[0]
    return bool(parent) and parent in sys.modules


def _module_of(thing: Any, name: str) -> str | None:
    """Find the module of an object that does not say which (its `__module__` is None or odd)."""
    for module_name, module in list(sys.modules.copy().items()):
        if module_name in MAIN_NAMES or type(module) is not types.ModuleType:
            continue
        if module.__dict__.get(name) is thing:
            return module_name
    return None


def locate(thing: Any, name: str | None = None) -> tuple[str, str] | None:
    """Find the name under which the other side can import an object.

    Args:
        thing: a function, a class, or another object with a `__module__`.
        name: its name; None for its own `__qualname__`.

    Returns:
        Module and qualified name; None when it must travel by value.
    """
    name = name or getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None)
    if not isinstance(name, str) or "<locals>" in name:
        return None
    module_name = getattr(thing, "__module__", None)
    if not isinstance(module_name, str):
        module_name = _module_of(thing, name)
    if module_name is None or module_name in MAIN_NAMES or _is_by_value(module_name):
        return None
    module = sys.modules.get(module_name)
    is_builtin = module_name in sys.builtin_module_names  # where ``_io`` says that its name is ``io``
    if module is None or not (
        is_builtin or type(module) is not types.ModuleType or is_importable_module(module)
    ):
        return None
    found: Any = module
    try:
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError:
        return None
    return (module_name, name) if found is thing else None


def public_name(module: str, name: str) -> tuple[str, str]:
    """Find the name of an object in the package around a private module, which other versions may not have.

    So ``pathlib._local.Path``, as Python 3.13 calls it, is ``pathlib.Path``.
    """
    package, _, last = module.rpartition(".")
    if last.startswith("_") and package in sys.modules and module in sys.modules:
        thing = getattr(sys.modules[module], name, None)
        if thing is not None and getattr(sys.modules[package], name, None) is thing:
            return package, name
    return module, name
