"""Comms of ipywidgets and its relatives, carried as messages of the data connection.

`install` replaces the two hooks of the `comm` package; it must come before ipywidgets is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import comm
from comm.base_comm import BaseComm, CommManager

from rpc_magic.wire import messages
from rpc_magic.wire.frames import Buffer
from rpc_magic.worker.bundles import plain
from rpc_magic.worker.output import Outputs

__all__ = ["Comms"]


class Comms:
    """The session's comms: outgoing messages through the outputs, incoming ones by `handle`.

    Args:
        outputs: where messages go.
    """

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs
        self.manager = CommManager()

    def install(self) -> None:
        """Become the process's implementation of comms."""
        outputs = self._outputs

        class SessionComm(BaseComm):  # type: ignore[misc]  # comm ships no types
            """A comm whose other end is in the notebook."""

            def publish_msg(
                self,
                msg_type: str,
                data: dict[str, Any] | None = None,
                metadata: dict[str, Any] | None = None,
                buffers: Sequence[Buffer] | None = None,
                **keys: Any,
            ) -> None:
                """Send one message."""
                message = messages.CommMessage(
                    kind=msg_type,
                    comm_id=self.comm_id,
                    data=plain(data or {}),
                    metadata=plain(metadata or {}),
                    target=keys.get("target_name") or "",
                )
                outputs.publish(message, list(buffers or ()))

        comm.create_comm = SessionComm
        comm.get_comm_manager = lambda: self.manager

    def handle(self, message: messages.CommMessage, buffers: Sequence[Buffer] = ()) -> None:
        """Give a message from the notebook to its comm. Main thread, between calls.

        Errors of callbacks are shown on stderr of the session's last call, never raised. SIGINT interrupts a
        callback.

        Args:
            message: the message.
            buffers: its binary buffers.
        """
        content = {"comm_id": message.comm_id, "data": message.data, "target_name": message.target}
        envelope = {
            "header": {"msg_type": message.kind},
            "content": content,
            "metadata": message.metadata,
            "buffers": [memoryview(buffer) for buffer in buffers],
        }
        try:
            with self._outputs.gate.user_code():
                match message.kind:
                    case "comm_open":
                        self.manager.comm_open(None, None, envelope)
                    case "comm_msg":
                        self.manager.comm_msg(None, None, envelope)
                    case "comm_close":
                        self.manager.comm_close(None, None, envelope)
        except KeyboardInterrupt:
            self._outputs.write("stderr", "KeyboardInterrupt: a widget's callback was interrupted\n")
        self._outputs.flush()

    def close_all(self) -> None:
        """Close all comms, so that widgets in the notebook show that they are dead."""
        for one in list(self.manager.comms.values()):
            one.close()
