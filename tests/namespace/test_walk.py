"""Generated programs are run, and what they really read, bound and deleted is compared with what was told."""

from __future__ import annotations

import textwrap
import types
from contextlib import nullcontext, suppress
from typing import Any, Self

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rpc_magic.namespace import cell_names

NAMES = ("a", "b", "c", "f", "g", "K")


class Enough(BaseException):
    """The program has run long enough; it is no `Exception`, so that programs do not catch it."""


class Chooser:
    """Answers yes or no as the test case says, and stops programs that run on."""

    def __init__(self, choices: list[bool]) -> None:
        self.choices, self.at = choices, 0

    def __call__(self, _: object = None) -> bool:
        self.at += 1
        if self.at > 200:
            raise Enough
        return self.choices[self.at % len(self.choices)] if self.choices else False


class Anything:
    """An object that allows every operation, and may run what it is given, raise, or swallow an exception."""

    def __init__(self, choose: Chooser, namespace: dict[str, Any]) -> None:
        self._choose, self._namespace = choose, namespace

    def _new(self, *_: Any) -> Anything:
        return Anything(self._choose, self._namespace)

    def __call__(self, *args: Any, **_: Any) -> Anything:
        if self._choose():
            raise ValueError("as chosen")
        # Functions given to it are run, and those that it finds in the namespace, as old functions would.
        for value in [*args, *dict.values(self._namespace)]:
            if isinstance(value, types.FunctionType) and self._choose():
                value()
            elif isinstance(value, types.GeneratorType):
                list(value)
        return self._new()

    def __iter__(self) -> Any:
        return iter([self._new()] * (2 * self._choose()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> bool:
        return self._choose()

    def __bool__(self) -> bool:
        return self._choose()

    def __getattr__(self, name: str) -> Anything:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._new()

    __getitem__ = __add__ = __lt__ = __radd__ = __gt__ = _new
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self._choose()

    def __setitem__(self, key: object, value: object) -> None: ...

    def __delitem__(self, key: object) -> None: ...


class Tracing(dict[str, Any]):
    """A namespace that notes which of the values it was made with are looked up."""

    def begin(self, prior: dict[str, Any]) -> None:
        self.prior = prior
        self.left = 500
        self.seen: set[str] = set()
        self.update(prior)

    def __getitem__(self, name: str) -> Any:
        self.left -= 1
        if self.left < 0:
            raise Enough
        value = dict.__getitem__(self, name)
        if name in self.prior and value is self.prior[name]:
            self.seen.add(name)
        return value


name = st.sampled_from(NAMES)


def _expressions(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    forms = [
        "{0}({1})", "({0} + {1})", "({0} and {1})", "({1} if {0} else {0})", "({n} := {0})", "(lambda: {0})",
        "(lambda {n}={1}: {0})", "[{0} for {n} in {1}]", "[{0} for a in {1} if ({n2} := {0})]", "f'{{{0}}}'",
        "({0} for {n} in {1})", "{{{0}: {1} for {n} in {1}}}", "{0}.x", "{0}[{1}]", "({0} < {1} < {0})",
        "eval('{n}')", "globals()['{n}']", "[[{n} for {n} in {n2}] for {n2} in {0}]", "({0}, {1})",
    ]  # fmt: skip
    return st.builds(
        lambda form, x, y, n, n2: form.format(x, y, n=n, n2=n2),
        st.sampled_from(forms),
        inner,
        inner,
        name,
        name,
    )


expression = st.recursive(name, _expressions, max_leaves=4)

SIMPLE = [
    "{n} = {0}", "{n} = {n2} = {0}", "{n}, *{n2} = {0}", "{n} += {0}", "{n}[0] = {0}", "{n}.x = {0}",
    "del {n}", "globals()['{n}'] += {0}", "{0}", "import os.path as {n}", "import os",
    "from os import path as {n}", "{n}: {0} = {1}", "pass", "assert {0}", "exec('{n} = {n2}')",
    "globals()['{n}'] = {0}", "raise ValueError", "{n} = 1",
]  # fmt: skip

COMPOUND = [
    "if {0}:\n{b}\nelse:\n{b2}",
    "if {0}:\n{b}",
    "for {n} in {0}:\n{b}\nelse:\n{b2}",
    "while choose({0}):\n{b}",
    "with {0} as {n}, {1}:\n{b}",
    "with nullcontext({0}) as {n}:\n{b}",
    "try:\n{b}\nexcept ValueError as {n}:\n{b2}",
    "try:\n{b}\nexcept Exception:\n{b2}\n    raise",
    "try:\n{b}\nfinally:\n{b2}",
    "try:\n{b}\nexcept {0}:\n    pass\nelse:\n{b2}",
    "def {f}({n}=None):\n{b}",
    "def {f}():\n    global {n}\n{b}",
    "@deco\ndef {f}(*{n}):\n{b}",
    "async def {f}():\n{b}",
    "class {f}:\n{b}",
    "class {f}:\n    def m(self={0}):\n    {b4}\n{b2}",
    "class {f}:\n    global {n}\n{b}",
    "match {0}:\n    case [{n}, *{n2}] if {1}:\n    {b4}\n    case {{'x': _}} | 3:\n    {b4}",
    "match {0}:\n    case 3:\n    {b4}\n    case {n2}:\n    {b4}",
    "def {f}():\n    {n} = 1\n    def inner():\n        nonlocal {n}\n    {b4}\n    return inner",
]


@st.composite
def blocks(draw: st.DrawFn, depth: int = 0, top: bool = True) -> str:
    """Draw statements, as text without indentation."""
    parts = []
    for _ in range(draw(st.integers(1, 5 if top else 2))):
        is_simple = depth >= 2 or draw(st.booleans())
        form = draw(st.sampled_from(SIMPLE if is_simple else COMPOUND))
        body, body2 = (
            ("", "") if is_simple else (draw(blocks(depth + 1, False)), draw(blocks(depth + 1, False)))
        )
        fields = {"n": draw(name), "n2": draw(name), "f": draw(name)}
        indented = textwrap.indent(body, "    ")
        parts.append(
            form.format(
                draw(expression),
                draw(expression),
                **fields,
                b=indented,
                b2=textwrap.indent(body2, "    "),
                b4=textwrap.indent(body, "        ")[4:],
            )
        )
    return "\n".join(parts)


def run(source: str, choices: list[bool]) -> Tracing:
    """Run a program in a tracing namespace, to its end or its first exception."""
    namespace = Tracing()
    choose = Chooser(choices)
    namespace.begin({name: Anything(choose, namespace) for name in NAMES})
    namespace["choose"] = choose
    namespace["deco"] = lambda function: function
    namespace["nullcontext"] = nullcontext
    namespace["__name__"] = "__main__"
    with suppress(Exception, Enough):
        exec(compile(source, "<cell>", "exec"), namespace)
    return namespace


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(blocks(), st.lists(st.booleans(), max_size=12))
def test_what_a_program_does_was_told(source: str, choices: list[bool]) -> None:
    """No run of a cell looks up an old value, binds or deletes a name that its text was not said to.

    Whatever its conditions, loops and exceptions do, and whenever its functions are called.
    """
    try:
        compile(source, "<cell>", "exec")
    except SyntaxError:
        return
    told = cell_names(source)
    namespace = run(source, choices)
    assert namespace.seen <= told.reads
    changed = {n for n in NAMES if n in namespace and dict.get(namespace, n) is not namespace.prior[n]}
    assert changed <= told.binds
    deleted = {n for n in NAMES if n not in namespace}
    assert deleted <= told.deletes | told.binds
