"""Having a session back that its server has kept when it was told to end: asking for it, loading it, telling of it.

A named session is had back by its name. For a private one its ticket is needed, which the connection that was lost
still has: connecting again from the same program, with the same arguments, is how a user asks for it.
"""

from __future__ import annotations

import threading
import time
import weakref

from rpc_magic.client.attachment import Attachment
from rpc_magic.client.connection import Connection
from rpc_magic.wire import control, messages

__all__ = ["former_ticket", "note", "restore"]

_NAMES = 8
"""Variables that are told by name."""
_CLAUSE = 100
"""Characters of the reason why one could not be kept."""

_made: list[tuple[weakref.ref[Attachment], str]] = []
_lock = threading.Lock()


def note(attachment: Attachment, name: str) -> None:
    """Take note of a connection, and of what it was called, so that its session can be had back."""
    with _lock:
        _made[:] = [one for one in _made if one[0]() is not None]
        _made.append((weakref.ref(attachment), name))


def former_ticket(welcome: control.Welcome, session: str, name: str) -> bytes:
    """Return the ticket of a session whose server has gone, for a connection that is made with the same arguments.

    Args:
        welcome: the server's; one that is started again has the same name, and may have another address.
        session: the session's name, empty for a private one.
        name: what the connection is called, empty when that was not said.

    Returns:
        The oldest one's, and each only once; empty bytes where there is none.
    """
    with _lock:
        for index, (reference, called) in enumerate(_made):
            attachment = reference()
            if attachment is None or attachment.state != "lost" or not attachment.ticket:
                continue
            there = attachment.welcome
            is_same = (there.name, there.host) == (welcome.name, welcome.host)
            if is_same and (attachment.wanted, called) == (session, name):
                del _made[index]
                return attachment.ticket
    return b""


def restore(connection: Connection) -> str:
    """Have the session load what was kept of it; return what the user is told, a line, or an empty text."""
    kept = connection.attachment.kept
    if kept is None:
        return ""
    source = f"__import__('rpc_magic.worker.keeping', fromlist=['restore']).restore({kept.file!r})"
    run = connection.run_cell(messages.RunCell(source, expression=True), {})
    return f"rpc_magic: {_told(connection, kept, run.result.value, run.error)}\n"


def _told(
    connection: Connection, kept: control.KeptSession, names: object, error: BaseException | None
) -> str:
    attachment = connection.attachment
    what = "the private session" if attachment.is_private else f"session {attachment.session}"
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(kept.at))
    if error is not None:
        return (
            f"the variables that {what} had when its server ended ({when}) cannot be loaded: {_short(str(error))}. "
            f"They are in {kept.file} on the server's machine; %rpc_load takes them"
        )
    if kept.reason:
        return f"{what} is new: nothing was kept of it when its server ended ({when}): {_short(kept.reason)}"
    known = [str(name) for name in names] if isinstance(names, list) else []
    found = f"{what} has its variables from when its server ended ({when}): {_list(known) or 'none'}"
    if kept.left:
        found += f"; not kept: {_list([_reason(name, why) for name, why in kept.left.items()])}"
    calls = len(connection.left_calls())
    if calls:
        found += f"; {calls} {'call has' if calls == 1 else 'calls have'} ended meanwhile (%rpc_sessions)"
    return found


def _list(names: list[str]) -> str:
    more = len(names) - _NAMES
    return ", ".join(names[:_NAMES]) + (f" and {more} more" if more > 0 else "")


def _reason(name: str, why: str) -> str:
    return _short(why) if why.startswith(name) else f"{name} ({_short(why)})"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _CLAUSE else f"{line[: _CLAUSE - 1]}…"
