"""Completion and help of values that are elsewhere: their server answers, and nothing is fetched.

``df.<Tab>``, ``df['<Tab>``, ``df?``, ``df??``, ``df.groupby?`` and Shift-Tab, where ``df`` holds a `RemoteValue`. A
server that is busy or gone does not answer within a moment; then what is known here is shown.
"""

from __future__ import annotations

import contextlib
import inspect
import re
from typing import Any

from IPython.core import page
from IPython.core.completer import SimpleCompletion, context_matcher

from rpc_magic.client import RemoteValue, class_of, connection_of
from rpc_magic.notebook.errors import as_coloured_here
from rpc_magic.notebook.registry import Registry, address_of
from rpc_magic.wire import messages

__all__ = ["Asking"]

_NAME = re.compile(r"(?<![\w.])[^\W\d]\w*")
_TRAIL = re.compile(
    r"(?<![\w.])([^\W\d]\w*)"  # a name,
    r"(?:\.\w+|\[[^\[\]]*\])*"  # attributes and items of it,
    r"(?:\.\w*|\[(?:[^\[\]]*['\"][^'\"\]]*)?)$"  # and the beginning of another
)
_ATTRIBUTE = re.compile(r"\.\w*$")


class Asking:
    """Answers IPython's questions about placeholders, from `install` to `remove`.

    Args:
        shell: IPython's shell; its `_inspect` (behind ``?``) and `object_inspect_mime` (behind Shift-Tab) are wrapped.
        registry: the connected servers.
    """

    def __init__(self, shell: Any, registry: Registry) -> None:
        self._shell, self._registry = shell, registry
        self._wrapped = {name: getattr(shell, name) for name in ("_inspect", "object_inspect_mime")}
        self._matcher = self.complete

    def install(self) -> None:
        """Begin to answer."""
        self._shell._inspect = self._inspect  # noqa: SLF001 - `?` has no other door
        self._shell.object_inspect_mime = self._object_inspect_mime
        self._shell.Completer.custom_matchers.append(self._matcher)

    def remove(self) -> None:
        """Put things back as they were; what somebody else has wrapped since is left alone."""
        for name, own in (("_inspect", self._inspect), ("object_inspect_mime", self._object_inspect_mime)):
            if self._shell.__dict__.get(name) == own:
                delattr(self._shell, name)
        with contextlib.suppress(ValueError):
            self._shell.Completer.custom_matchers.remove(self._matcher)

    def _remote(self, name: str) -> RemoteValue | None:
        value = self._shell.user_ns.get(name)
        return value if type(value) is RemoteValue else None

    def _ask(self, value: RemoteValue, message: messages.Message) -> messages.Outcome | None:
        owner = self._registry.owner(value)
        end = None if owner is None else owner.connection.exchange.ask_soon(message)
        return None if end is None else end.outcome

    # ------------------------------------------------------------ completion

    @context_matcher(identifier="rpc_magic")  # type: ignore[untyped-decorator]  # IPython is not typed here
    def complete(self, context: Any) -> dict[str, Any]:
        """Complete attributes and keys of a placeholder."""
        line = context.text_until_cursor
        trail = _TRAIL.search(line)
        value = None if trail is None else self._remote(trail[1])
        if value is None or trail is None:
            return {"completions": []}
        values = {}
        for name in _NAME.findall(line):
            other = self._remote(name)
            if other is not None and address_of(other)[0] == address_of(value)[0]:
                values[name] = address_of(other)[1]
        answer = self._ask(value, messages.Complete(line, len(line), values))
        if isinstance(answer, messages.Completions):
            fragment, matches = line[answer.start :], list(answer.matches)
        else:
            fragment, matches = self._known(value, trail[0])
        kind = "attribute" if _ATTRIBUTE.search(trail[0]) else "key"
        return {
            "completions": [SimpleCompletion(text=match, type=kind) for match in matches],
            "matched_fragment": fragment,
            "suppress": True,
        }

    @staticmethod
    def _known(value: RemoteValue, text: str) -> tuple[str, list[str]]:
        """Return the attributes that the value's class has, where that is known here."""
        _, dot, start = text.partition(".")
        known = class_of(value)
        if not dot or "." in start or "[" in text or known is None:
            return "", []
        shown = (name for name in dir(known) if start.startswith("_") or not name.startswith("_"))
        return f".{start}", [f".{name}" for name in shown if name.startswith(start)]

    # ------------------------------------------------------------ help

    def _inspect(self, meth: str, oname: str, namespaces: Any = None, **options: Any) -> Any:
        bundle = self._help(oname, options.get("detail_level", 0)) if meth == "pinfo" else None
        if bundle is None:
            return self._wrapped["_inspect"](meth, oname, namespaces, **options)
        if not self._shell.enable_html_pager:
            bundle = {"text/plain": bundle["text/plain"]}
        page.page(bundle)
        return None

    def _object_inspect_mime(self, oname: str, detail_level: int = 0, omit_sections: Any = ()) -> Any:
        bundle = self._help(oname, detail_level)
        if bundle is None:
            return self._wrapped["object_inspect_mime"](oname, detail_level, omit_sections)
        return bundle

    def _help(self, text: str, detail: int) -> dict[str, str] | None:
        """Return what to show for a placeholder, or something in it; None for anything else."""
        root = _NAME.match(text.strip())
        value = None if root is None else self._remote(root[0])
        if value is None or root is None:
            return None
        name = text.strip()
        answer = self._ask(value, messages.Inspect(name, detail, {root[0]: address_of(value)[1]}))
        if isinstance(answer, messages.Inspected):
            if answer.data:
                return {**answer.data, "text/plain": as_coloured_here(answer.data.get("text/plain", ""))}
            return {"text/plain": f"Object `{name}` not found on {connection_of(value).name}."}
        known = class_of(value)
        attribute = name.removeprefix(root[0]).lstrip(".")
        target = getattr(known, attribute, None) if attribute.isidentifier() else known
        doc = inspect.getdoc(target) if target is not None else None
        lines = [repr(value), f"({connection_of(value).name} does not answer now: it is busy, or gone.)"]
        return {"text/plain": "\n".join([*lines, *([f"\n{doc}"] if doc else [])])}
