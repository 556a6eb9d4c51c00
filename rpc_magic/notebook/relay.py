"""Widgets that a remote cell makes live on this page: their comm messages are passed on, both ways.

The widget's object stays in the session; here there is a comm of the same id, so that the page finds the widget's
model. What the page says reaches the session between calls. Where there is no kernel there is no page, and the
widgets' texts stand for them.
"""

from __future__ import annotations

import contextlib
from typing import Any

from rpc_magic.client import Connection
from rpc_magic.errors import RpcMagicError
from rpc_magic.notebook.live import create_comm
from rpc_magic.wire import messages
from rpc_magic.wire.handshake import Role

__all__ = ["Relay", "is_on_page"]

_on_page: set[str] = set()
"""Ids of the models that relays of this process have put on the page; a page is the process's, not a connection's."""


def is_on_page(model_id: object) -> bool:
    """Tell whether a widget's model of this id is known to the page."""
    return model_id in _on_page


class Relay:
    """Joins the comms of a session with those of this kernel. Thread-safe: one thread at a time reads.

    Args:
        connection: to the session.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._comms: dict[str, Any] = {}

    def take(self, message: messages.CommMessage, buffers: list[memoryview]) -> None:
        """Pass a message of the session on to the page."""
        with contextlib.suppress(Exception):  # a page that is gone must not end the thread that reads
            match message.kind:
                case "comm_open":
                    self._open(message, buffers)
                case "comm_msg" if message.comm_id in self._comms:
                    self._comms[message.comm_id].send(
                        message.data, message.metadata, [bytes(b) for b in buffers]
                    )
                case "comm_close" if message.comm_id in self._comms:
                    _on_page.discard(message.comm_id)
                    self._comms.pop(message.comm_id).close(message.data, message.metadata)

    def _open(self, message: messages.CommMessage, buffers: list[memoryview]) -> None:
        one = create_comm(
            target_name=message.target,
            comm_id=message.comm_id,
            data=message.data,
            metadata=message.metadata,
            buffers=[bytes(b) for b in buffers],
        )
        self._comms[message.comm_id] = one
        _on_page.add(message.comm_id)
        one.on_msg(lambda said: self._pass_on("comm_msg", message.comm_id, said))
        one.on_close(lambda said: self._pass_on("comm_close", message.comm_id, said))

    def _pass_on(self, kind: str, comm_id: str, said: dict[str, Any]) -> None:
        """Pass what the page said on to the session; one that is gone hears nothing."""
        if kind == "comm_close":
            self._comms.pop(comm_id, None)
        content = said.get("content", {})
        request = messages.CommMessage(kind, comm_id, content.get("data", {}), said.get("metadata", {}))
        with contextlib.suppress(RpcMagicError):
            self._connection.attachment.link(Role.DATA).send(0, request, said.get("buffers") or ())

    def close(self) -> None:
        """The session is gone: its widgets on the page are dead, and show it."""
        comms, self._comms = self._comms, {}
        for comm_id, one in comms.items():
            _on_page.discard(comm_id)
            with contextlib.suppress(Exception):  # as in `take`
                one.on_close(None)
                one.close()
