"""The errors of rpc_magic.

::

    RpcMagicError
    ├── ConnectError                no server there, or it would not have us
    │   ├── AuthenticationError     token or certificate is not the one that is known
    │   │   └── TokenMissingError   no token is known for the server
    │   └── SessionInUseError       another client holds the session
    ├── ConnectionLostError         the connection broke while something was under way
    ├── SessionDiedError            the session's process ended
    ├── CallTimeoutError            (TimeoutError) the stated time for a call ran out
    ├── UnknownFunctionError        (LookupError) the server exposes no function of that name
    ├── MissingNameError            (NameError) a variable that was asked for does not exist
    ├── RemoteError                 an exception that could not arrive as its own class
    │   ├── RemoteExit              SystemExit there
    │   ├── RemoteInterrupt         KeyboardInterrupt there, seen through a `Call`
    │   ├── RemoteStopIteration     StopIteration there, seen through a `Call`
    │   └── RemoteGeneratorExit     GeneratorExit there, seen through a `Call`
    ├── RemoteValueError            a value that is elsewhere was used as if it were here
    ├── TransferError               (TypeError) an object that cannot travel
    ├── LimitError                  (ValueError) something is over a stated limit
    └── ProtocolError               the other side does not speak our protocol

An error holds fields and builds its text from them; every error pickles. A text says what happened, to what,
and what to do next.
"""

from __future__ import annotations

from typing import Any, Literal

__all__ = [
    "AuthenticationError",
    "CallTimeoutError",
    "ConnectError",
    "ConnectionLostError",
    "LimitError",
    "MissingNameError",
    "ProtocolError",
    "RemoteError",
    "RemoteExit",
    "RemoteGeneratorExit",
    "RemoteInterrupt",
    "RemoteStopIteration",
    "RemoteValueError",
    "RpcMagicError",
    "SessionDiedError",
    "SessionInUseError",
    "TokenMissingError",
    "TransferError",
    "UnknownFunctionError",
]


def _rebuild(cls: type[RpcMagicError], args: tuple[Any, ...], state: dict[str, Any]) -> RpcMagicError:
    error = cls.__new__(cls)
    error.args = args
    for name, value in state.items():
        setattr(error, name, value)
    return error


class RpcMagicError(Exception):
    """Root of all errors that rpc_magic raises of its own accord."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, dict(self.__dict__))


class ConnectError(RpcMagicError):
    """No connection could be made.

    Attributes:
        url: what was to be connected to.
        reason: why it failed, one clause.
        hint: what to do next, one sentence; may be empty.
        is_final: the server is well and has nothing of the kind, so another attempt would not help.
    """

    def __init__(self, url: str, reason: str, hint: str = "", *, is_final: bool = False) -> None:
        self.url, self.reason, self.hint, self.is_final = url, reason, hint, is_final
        super().__init__(f"cannot connect to {url}: {reason}." + (f" {hint}" if hint else ""))


class AuthenticationError(ConnectError):
    """Client and server do not know the same token, or the server's certificate is another one than is known.

    Attributes:
        fault: which of the two does not fit.
    """

    def __init__(
        self, url: str, reason: str, hint: str = "", *, fault: Literal["token", "certificate"] = "token"
    ) -> None:
        self.fault = fault
        super().__init__(url, reason, hint)


class TokenMissingError(AuthenticationError):
    """No token is known for a server, or the one that is remembered is not its own any more.

    Attributes:
        is_stale: the latter; as when it was replaced there.
    """

    def __init__(self, url: str, *, is_stale: bool = False) -> None:
        self.is_stale = is_stale
        reason = "no token is known for it, and no server of yours listens there on this machine"
        if is_stale:
            reason = "the token that is remembered is not its own, or not any more"
        super().__init__(url, reason, "Give --token-file FILE (token_file=...), or set RPC_MAGIC_TOKEN_FILE.")


class SessionInUseError(ConnectError):
    """Another client holds the session.

    Attributes:
        session: its name.
        holder: who holds it, as "user@host, process 123".
        since: seconds for which it has been held.
    """

    def __init__(self, url: str, session: str, holder: str, since: float) -> None:
        self.session, self.holder, self.since = session, holder, since
        super().__init__(
            url,
            f"session {session!r} has been in use by {holder} for {since:.0f} s",
            "Use --take (take=True) to take it over, or another session name.",
        )


class ConnectionLostError(RpcMagicError):
    """The connection broke while something was under way.

    Attributes:
        url: the server.
        detail: what is known of the cause.
        is_taken_over: another client has the session now.
    """

    def __init__(self, url: str, detail: str = "", *, is_taken_over: bool = False) -> None:
        self.url, self.detail, self.is_taken_over = url, detail, is_taken_over
        more = f" ({detail})" if detail else ""
        super().__init__(f"the connection to {url} was lost{more}; run %rpc_connect (or connect()) again")


class SessionDiedError(RpcMagicError):
    """The process of a session ended.

    Attributes:
        session: the session's name.
        cause: how it ended, as "killed by SIGSEGV".
        last_words: the end of what it wrote to its standard error, and what it printed just before; may be empty.
    """

    def __init__(self, session: str, cause: str, last_words: str = "") -> None:
        self.session, self.cause, self.last_words = session, cause, last_words
        text = f"the session {session!r} ended ({cause}); its variables are gone. "
        text += "%rpc_restart (or restart()) gives a new one"
        super().__init__(text + (f"\nIts last words:\n{last_words}" if last_words else ""))


class CallTimeoutError(RpcMagicError, TimeoutError):
    """A call did not end within the time stated for it.

    Attributes:
        seconds: the stated time.
        is_session_ended: the code did not listen to the interrupt, so its session was ended.
    """

    def __init__(self, seconds: float, *, is_session_ended: bool = False) -> None:
        self.seconds, self.is_session_ended = seconds, is_session_ended
        text = f"the call did not end within {seconds:g} s and was interrupted"
        if is_session_ended:
            text += (
                "; its code did not listen, so its session was ended: its variables are gone, and %rpc_restart "
                "(or restart()) gives a new one"
            )
        super().__init__(text)


class UnknownFunctionError(RpcMagicError, LookupError):
    """The server exposes no function of that name.

    Attributes:
        name: the name asked for.
        near: exposed names like it, best first.
        known: how many functions are exposed.
    """

    def __init__(self, name: str, near: tuple[str, ...] = (), known: int = 0) -> None:
        self.name, self.near, self.known = name, tuple(near), known
        if near:
            hint = "Did you mean " + " or ".join(repr(n) for n in near) + "?"
        elif known:
            hint = f"It exposes {known} others: see dir(conn.functions)."
        else:
            hint = "It exposes none: use Server.register, or rpc-magic serve --expose MODULE."
        super().__init__(f"the server exposes no function {name!r}. {hint}")


class MissingNameError(RpcMagicError, NameError):
    """A variable that was asked for does not exist.

    Attributes:
        missing: the names that do not exist.
        where: "in the session" or "here".
    """

    def __init__(self, missing: tuple[str, ...], where: str) -> None:
        self.missing, self.where = tuple(missing), where
        names = ", ".join(repr(n) for n in missing)
        super().__init__(
            f"no variable {names} {where}; nothing was changed. Check the spelling, or bind it first"
        )
        self.name = missing[0] if missing else ""

    def __reduce__(self) -> tuple[Any, ...]:
        # NameError keeps `name` outside the instance's dict.
        return _rebuild, (type(self), self.args, {**self.__dict__, "name": self.name})


class RemoteError(RpcMagicError):
    """An exception that could not arrive as its own class.

    Attributes:
        type_name: qualified name of the class it had there.
        message: its text.
        traceback: its rendered traceback; may be empty.
    """

    def __init__(self, type_name: str, message: str, traceback: str = "") -> None:
        self.type_name, self.message, self.traceback = type_name, message, traceback
        super().__init__(f"{type_name}: {message}" if message else type_name)


class RemoteExit(RemoteError):  # noqa: N818 - named after what was raised there
    """The remote code raised SystemExit; the session lives on.

    Attributes:
        code: the exit code, a number, a text or None.
    """

    def __init__(self, code: object = None, traceback: str = "") -> None:
        self.code = code if isinstance(code, (int, str, type(None))) else str(code)
        super().__init__("SystemExit", "" if code is None else str(code), traceback)


class RemoteInterrupt(RemoteError):  # noqa: N818 - named after what was raised there
    """The remote code was interrupted (seen through a `Call`)."""


class RemoteStopIteration(RemoteError):  # noqa: N818 - named after what was raised there
    """The remote code raised StopIteration (seen through a `Call`)."""


class RemoteGeneratorExit(RemoteError):  # noqa: N818 - named after what was raised there
    """The remote code raised GeneratorExit (seen through a `Call`)."""


class RemoteValueError(RpcMagicError):
    """A value that is elsewhere was used as if it were here; its `.get()` fetches it."""


class TransferError(RpcMagicError, TypeError):
    """An object that cannot travel.

    Attributes:
        path: where it is, as "model.cache[3].lock"; may be empty.
        type_name: its type.
        reason: why it cannot travel, one clause.
    """

    def __init__(self, path: str, type_name: str, reason: str) -> None:
        self.path, self.type_name, self.reason = path, type_name, reason
        where = f"{path} ({type_name})" if path else f"a {type_name} object"
        super().__init__(f"{where} cannot travel: {reason}")


class LimitError(RpcMagicError, ValueError):
    """Something is over a stated limit.

    Attributes:
        what: the thing that is too large.
        size: its size, in `unit`.
        limit: the largest allowed, in `unit`.
        setting: the name of the setting that moves the limit.
    """

    def __init__(self, what: str, size: int, limit: int, unit: str = "bytes", setting: str = "") -> None:
        self.what, self.size, self.limit, self.unit, self.setting = what, size, limit, unit, setting
        more = f"; the setting {setting!r} moves the limit" if setting else ""
        super().__init__(f"{what} has {size:,} {unit}, over the limit of {limit:,}{more}")


class ProtocolError(RpcMagicError):
    """The other side does not speak our protocol, or broke a rule of it (`docs/protocol.md`)."""
