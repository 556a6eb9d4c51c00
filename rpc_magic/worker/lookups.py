"""What a session answers to who types: help and completions.

Names stand for values as they do at the client, for as long as a question is answered.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from IPython.core.completer import provisionalcompleter, rectify_completions

from rpc_magic.wire import messages
from rpc_magic.worker.shell import ZMQInteractiveShell

__all__ = ["complete", "inspect_name"]


def inspect_name(
    shell: ZMQInteractiveShell, request: messages.Inspect, values: Mapping[str, object]
) -> messages.Inspected:
    """Return what ``?`` shows for a name; runs code of the user's, as the ``__repr__`` of what is shown.

    Args:
        shell: the session's shell.
        request: the question.
        values: what names stand for meanwhile.
    """
    with _standing(shell.user_ns, values):
        try:
            found = shell.object_inspect_mime(request.name, detail_level=request.detail)
        except KeyError:
            found = {}
    return messages.Inspected({str(kind): str(text) for kind, text in found.items()})


def complete(
    shell: ZMQInteractiveShell, request: messages.Complete, values: Mapping[str, object]
) -> messages.Completions:
    """Return the completions of a line; arguments as those of `inspect_name`."""
    # Jedi would read sources, where the objects themselves are at hand.
    shell.Completer.use_jedi = False
    line, cursor = request.text, request.cursor
    with _standing(shell.user_ns, values), provisionalcompleter():
        found = list(rectify_completions(line, shell.Completer.completions(line, cursor)))
    start = found[0].start if found else cursor  # of all: that is what is rectified
    return messages.Completions(tuple(one.text for one in found), start, cursor)


@contextlib.contextmanager
def _standing(namespace: dict[str, Any], values: Mapping[str, object]) -> Iterator[None]:
    """Bind names for a while; what they were bound to comes back."""
    hidden = {name: namespace[name] for name in values if name in namespace}
    namespace.update(values)
    try:
        yield
    finally:
        for name in values:
            if name in hidden:
                namespace[name] = hidden[name]
            else:
                namespace.pop(name, None)
