"""rpc_magic: run a notebook cell, or a function, on another machine as if it had run here.

The names below are loaded when they are first used, so that ``import rpc_magic`` stays light. Importing this
package does nothing else: no thread, no registration, no patching.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rpc_magic._version import __version__

if TYPE_CHECKING:
    from rpc_magic.client import Call, Connection, RemoteValue, Result, ServerInfo, connect
    from rpc_magic.errors import (
        AuthenticationError,
        CallTimeoutError,
        ConnectError,
        ConnectionLostError,
        LimitError,
        MissingNameError,
        ProtocolError,
        RemoteError,
        RemoteExit,
        RemoteGeneratorExit,
        RemoteInterrupt,
        RemoteStopIteration,
        RemoteValueError,
        RpcMagicError,
        SessionDiedError,
        SessionInUseError,
        TokenMissingError,
        TransferError,
        UnknownFunctionError,
    )
    from rpc_magic.notebook import connection
    from rpc_magic.serial import dumps, loads
    from rpc_magic.worker.program import Server

_HOME = {
    "Call": "client",
    "Connection": "client",
    "RemoteValue": "client",
    "Result": "client",
    "ServerInfo": "client",
    "connect": "client",
    "connection": "notebook",
    "Server": "worker.program",
    "dumps": "serial",
    "loads": "serial",
    "AuthenticationError": "errors",
    "CallTimeoutError": "errors",
    "ConnectError": "errors",
    "ConnectionLostError": "errors",
    "LimitError": "errors",
    "MissingNameError": "errors",
    "ProtocolError": "errors",
    "RemoteError": "errors",
    "RemoteExit": "errors",
    "RemoteGeneratorExit": "errors",
    "RemoteInterrupt": "errors",
    "RemoteStopIteration": "errors",
    "RemoteValueError": "errors",
    "RpcMagicError": "errors",
    "SessionDiedError": "errors",
    "SessionInUseError": "errors",
    "TokenMissingError": "errors",
    "TransferError": "errors",
    "UnknownFunctionError": "errors",
}

__all__ = [
    "AuthenticationError",
    "Call",
    "CallTimeoutError",
    "ConnectError",
    "Connection",
    "ConnectionLostError",
    "LimitError",
    "MissingNameError",
    "ProtocolError",
    "RemoteError",
    "RemoteExit",
    "RemoteGeneratorExit",
    "RemoteInterrupt",
    "RemoteStopIteration",
    "RemoteValue",
    "RemoteValueError",
    "Result",
    "RpcMagicError",
    "Server",
    "ServerInfo",
    "SessionDiedError",
    "SessionInUseError",
    "TokenMissingError",
    "TransferError",
    "UnknownFunctionError",
    "__version__",
    "connect",
    "connection",
    "dumps",
    "loads",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def _show_controls(connection: Any, f: Any, controls: dict[str, Any]) -> None:
    """`Connection.interact`, whose layer must not know of notebooks."""
    from rpc_magic.notebook.interacting import show_controls

    show_controls(connection, f, controls)


def load_ipython_extension(shell: Any) -> None:
    """Register the magics: ``%load_ext rpc_magic``."""
    from rpc_magic.notebook import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Take the magics away again: ``%unload_ext rpc_magic``."""
    from rpc_magic.notebook import unload

    unload(shell)
