"""What a call shows, in a program without a notebook: text to the standard streams, everything else as its text."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable

from rpc_magic.wire import messages

__all__ = ["Reply", "answer_prompt", "show_plainly"]

Reply = Callable[[messages.InputReply], None]


def show_plainly(message: messages.Message) -> None:
    """Write what `message` shows to ``sys.stdout`` or ``sys.stderr``."""
    match message:
        case messages.Stream(name, text):
            stream = sys.stderr if name == "stderr" else sys.stdout
            stream.write(text)
            stream.flush()
        case messages.Display(data, _, _, False) | messages.Page(data):
            sys.stdout.write(f"{data.get('text/plain', '')}\n")
        case messages.ShownError(_, _, lines):
            sys.stderr.write("\n".join((*lines, "")))


def answer_prompt(message: messages.InputRequest, reply: Reply) -> None:
    """Ask the user and send the answer; what goes wrong is told to the call that asked."""
    try:
        text = getpass.getpass(message.prompt) if message.password else input(message.prompt)
    except KeyboardInterrupt:
        reply(messages.InputReply("", "interrupted"))
        raise
    except Exception as error:  # noqa: BLE001 - no terminal, a closed stream: the asking call must not hang
        reply(messages.InputReply("", f"nobody could be asked: {error}"))
    else:
        reply(messages.InputReply(text))
