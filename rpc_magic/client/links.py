"""The links of one attachment: to its session, to the session's engine, to the program that exposes functions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from rpc_magic.client.introducing import is_on_this_machine
from rpc_magic.client.link import Link
from rpc_magic.client.modules import LocalModules
from rpc_magic.errors import RpcMagicError
from rpc_magic.runtime.versions import Libraries, version_note
from rpc_magic.transport.pace import FAR_SECONDS
from rpc_magic.wire import messages
from rpc_magic.wire.handshake import Role
from rpc_magic.wire.store import ChunkStore

if TYPE_CHECKING:
    from rpc_magic.client.attachment import Attachment

__all__ = ["Links", "Stray"]

Stray = Callable[[int, messages.Message, list[memoryview]], None]


class Links(dict[Role, Link]):
    """See the module's text; the link of each role that has been used.

    Args:
        attachment: whose links they are.
        held: bytes of received memory that are held, so that what lies in it need not be sent again.
        is_plain_only: have nothing but plain data sent as values.

    Attributes:
        modules: serves the user's own modules to the session.
        libraries: what was told of the versions of libraries.
        chunks: finds what the session has already.
        on_comm: takes messages of the session's widgets, on the thread that waits for their call; else on that which
            reads.
        on_stray: takes output that belongs to no call that runs, on the I/O thread.
    """

    def __init__(self, attachment: Attachment, held: int, *, is_plain_only: bool) -> None:
        super().__init__()
        self._attachment, self._is_plain_only = attachment, is_plain_only
        self.modules = LocalModules()
        self.libraries = Libraries()
        self.chunks = ChunkStore(held)
        self.on_comm: Callable[[messages.CommMessage, list[memoryview]], None] = lambda *_: None
        self.on_stray: Stray = lambda *_: None

    def make(self, role: Role) -> Link:
        """Connect the link of `role`.

        Raises:
            RpcMagicError: it cannot be had.
        """
        attachment = self._attachment
        sock = attachment.dial(role)
        link = self[role] = Link(
            sock,
            attachment.io,
            attachment.welcome.payload,
            lambda detail, can_resume: attachment.link_lost(role, detail, can_resume=can_resume),
            self._take_stray,
            self.chunks if role is Role.DATA else None,
        )
        link.on_resumed = lambda is_known: attachment.note_resumed(role, is_known=is_known)
        if role is Role.DATA:
            link.on_question = lambda question: self.modules.answer(question, link.send)
            link.on_libraries = self.compare
            # On a busy machine connecting to a server of the same one may take as long.
            link.is_far = not is_on_this_machine(attachment.welcome) and attachment.nearest >= FAR_SECONDS
            configure = messages.Configure(self._is_plain_only, attachment.code == "source", link.is_far)
            if configure != messages.Configure():
                link.send(0, configure)
        if role is not Role.FUNCTIONS:
            link.before_request = self._prepare
        return link

    def _prepare(self) -> None:
        """Before a request: tell the session, and its engine, what they have to know to understand it."""
        changed = self.modules.changed()
        versions = self.libraries.take()
        for role, link in list(self.items()) if changed or versions else ():
            if link.is_gone or role is Role.FUNCTIONS:
                continue
            if changed:
                link.send(0, messages.ModulesChanged(changed))
            if versions and role is Role.DATA:
                link.send(0, messages.Libraries(versions))

    def compare(self, theirs: dict[str, str]) -> str:
        """Return what there is to say of the session's versions of libraries; any thread."""
        compared = self.libraries.compare(theirs)
        return "".join(version_note(library, mine, other) for library, mine, other in compared)

    def _take_stray(self, call: int, message: messages.Message, buffers: list[memoryview]) -> None:
        if isinstance(message, messages.CommMessage):
            self.on_comm(message, buffers)
        else:
            self.on_stray(call, message, buffers)

    def has(self, call: int) -> bool:
        """Tell whether a call of this number has not ended."""
        return any(link.has(call) for link in list(self.values()))

    def cut_off(self) -> list[tuple[Role, Link]]:
        """Return the links that have no connection and can have another one."""
        return [(role, link) for role, link in list(self.items()) if not link.is_up and not link.is_gone]

    def hurry(self, call: int) -> None:
        """A call was stopped, or with 0 every one: see `Link.hurry`. Any thread."""
        for link in list(self.values()):
            link.hurry(call)

    def acknowledge(self) -> None:
        """Tell the other sides what has come."""
        for link in list(self.values()):
            link.acknowledge()

    def drop_value(self, key: str) -> None:
        """Let the session forget a kept value, where it is there."""
        link = self.get(Role.DATA)
        if link is not None:
            with contextlib.suppress(RpcMagicError):
                link.send(0, messages.Drop((key,)))

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes sent and received."""
        links = list(self.values())
        return sum(link.bytes_sent for link in links), sum(link.bytes_received for link in links)

    @property
    def bytes_saved(self) -> int:
        """Bytes that were not sent because the session had them."""
        return sum(link.bytes_saved for link in list(self.values()))

    # ------------------------------------------------------------ the I/O thread

    def cut(self) -> None:
        """Take the connections for gone."""
        for link in list(self.values()):
            link.cut()

    def read_rest(self) -> None:
        """The other sides have ended: take in what they had sent before."""
        for link in list(self.values()):
            link.read_rest()

    def fail(self, error: Exception) -> None:
        """End all links, and the calls that wait with `error`."""
        for link in list(self.values()):
            link.close(error)  # first: it does nothing once the link is gone
            link.fail_all(error)
