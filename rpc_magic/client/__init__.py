"""The client: connections to servers, for notebooks and plain programs alike. It never touches IPython."""

from rpc_magic.client.calls import Call
from rpc_magic.client.connecting import connect
from rpc_magic.client.connection import Connection
from rpc_magic.client.listener import Transfer
from rpc_magic.client.results import Result, ServerInfo
from rpc_magic.client.values import RemoteValue, class_of, connection_of

__all__ = [
    "Call",
    "Connection",
    "RemoteValue",
    "Result",
    "ServerInfo",
    "Transfer",
    "class_of",
    "connect",
    "connection_of",
]
