"""Random graphs of objects, functions, classes and cells keep their shape."""

from __future__ import annotations

import random
import types

from hypothesis import given, settings
from hypothesis import strategies as st

from rpc_magic import serial

SOURCE = """
class Node: pass
def make_closure(a, b):
    def first(x=None): return a, b, shared
    def second(): return b, a
    return first, second
shared = None
"""


def build(seed, size):  # one branch a kind
    """Make a random graph: nodes of every kind, then edges between them, cycles included."""
    rng = random.Random(seed)
    space = {"__name__": "__main__"}
    exec(compile(SOURCE, "<graph>", "exec", dont_inherit=True), space)
    nodes = []
    for index in range(size):
        kind = rng.choice(("list", "dict", "tuple", "instance", "class", "closure", "set"))
        pick = (lambda: rng.choice(nodes)) if nodes else (lambda: None)
        if kind == "list":
            nodes.append([])
        elif kind == "dict":
            nodes.append({})
        elif kind == "tuple":
            nodes.append((pick(), pick(), index))
        elif kind == "instance":
            nodes.append(space["Node"]())
        elif kind == "class":
            nodes.append(
                type(f"C{index}", (rng.choice([object, space["Node"]]),), {"__module__": "__main__"})
            )
        elif kind == "set":
            nodes.append({index})
        else:
            nodes.extend(space["make_closure"](pick(), pick()))
    space["shared"] = rng.choice(nodes)
    for node in nodes:
        for edge in range(rng.randrange(3)):
            target = rng.choice(nodes)
            if isinstance(node, list):
                node.append(target)
            elif isinstance(node, dict):
                node[edge] = target
            elif isinstance(node, type) or hasattr(node, "__dict__"):
                setattr(node, f"e{edge}", target)
            if isinstance(node, types.FunctionType) and rng.random() < 0.5:
                node.__closure__[0].cell_contents = target
    return nodes


def shape(root):
    """Describe a graph by numbering its objects in the order in which they are met."""
    numbers, lines, waiting = {}, [], [root]
    while waiting:
        thing = waiting.pop()
        if id(thing) in numbers:
            continue
        numbers[id(thing)] = len(numbers)
        parts = children(thing)
        lines.append((thing, parts))
        waiting.extend(part for part in parts if not is_leaf(part))
    return [
        (type(thing).__name__, [part if is_leaf(part) else ("#", numbers[id(part)]) for part in parts])
        for thing, parts in lines
    ]


def is_leaf(thing):
    return thing is None or isinstance(thing, (int, str))


def children(thing):
    if isinstance(thing, (list, tuple)):
        return list(thing)
    if isinstance(thing, set):
        return sorted(thing)
    if isinstance(thing, dict):
        return [part for item in thing.items() for part in item]
    if isinstance(thing, types.FunctionType):
        own = [part for name in sorted(thing.__dict__) for part in (name, thing.__dict__[name])]
        return [*own, *thing.__closure__, thing.__globals__.get("shared"), thing.__name__]
    if isinstance(thing, types.CellType):
        return [thing.cell_contents]
    if getattr(thing, "__module__", "") != "__main__":
        return []
    own = [part for name in sorted(vars(thing)) if name[0] == "e" for part in (name, vars(thing)[name])]
    return [*own, *(thing.__bases__ if isinstance(thing, type) and thing.__module__ == "__main__" else ())]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 30))
def test_graphs_stay_isomorphic(seed, size):
    """A foreign receiver gets a graph of the same shape: sharing and cycles are kept, whatever the kinds."""
    nodes = build(seed, size)
    buffers = [bytes(b) for b in serial.encode(nodes)]
    before = shape(nodes)
    serial.renew_origin()  # from here on this process did not make the graph ...
    own = [registry_forget(node) for node in everything(nodes)]
    copy = serial.decode(buffers)
    assert shape(copy) == before
    assert not {id(node) for node in copy if isinstance(node, (list, type))} & {id(node) for node in nodes}
    del own


def everything(nodes):
    seen, waiting = {}, list(nodes)
    while waiting:
        thing = waiting.pop()
        if is_leaf(thing) or id(thing) in seen:
            continue
        seen[id(thing)] = thing
        waiting.extend(children(thing))
        waiting.append(type(thing))
    return list(seen.values())


def registry_forget(thing):
    """... and does not know its classes."""
    from rpc_magic.serial.tokens import registry

    entry = registry._tokens.pop(id(thing), None)
    if entry is not None:
        registry._objects.pop(entry[1], None)
    return thing
