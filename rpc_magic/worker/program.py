"""A server inside a program: `Server`, in five lines.

The supervisor is a process beside the program and ends with it. It listens and proves; a proved connection for
calls by name is handed to the program, where an I/O thread reads it and the functions run: one at a time on the
thread that called `serve_forever`, or on several threads.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import msgspec

from rpc_magic.errors import RpcMagicError
from rpc_magic.runtime import launch
from rpc_magic.settings import LIMITS, WorkerSettings
from rpc_magic.transport import PacketSocket
from rpc_magic.worker.calls import Calls
from rpc_magic.worker.exposed import Exposed, public_functions
from rpc_magic.worker.system import die_with_parent

__all__ = ["Server"]

F = TypeVar("F", bound=Callable[..., Any])
_DEFAULT_URL = "tcp://127.0.0.1:0"


def _path(stated: str | os.PathLike[str] | None) -> str:
    """Return a file's whole path, "" for none."""
    return str(Path(stated).expanduser().resolve()) if stated is not None else ""


def _secured(url: str) -> str:
    """Return the URL at which a server with a certificate listens."""
    if "://" in url and not url.startswith("rpc://"):
        raise ValueError(f"tls_cert is for a server that uses TLS, and {url} does not: write rpc://HOST:PORT")
    return url if "://" in url else f"rpc://{url}"


class Server:
    """Exposes functions of this program to clients; sessions too, unless `sessions` is False.

    Args:
        url: where to listen, as ``tcp://127.0.0.1:8000``, ``unix:///path.sock``, or ``0.0.0.0:8000``, which uses TLS;
            None takes a free port of this machine.
        token_file: the file of the token that clients must know; None makes one, which clients of this user on
            this machine find by themselves.
        name: the server's name; None takes one from its address.
        sessions: let clients run functions and cells of their own, in processes beside this one.
        arguments: "any", or "data": exposed functions take plain data only, and nothing is ever unpickled.
        threads: how many calls run at once.
        tls_cert: file of a certificate of one's own (PEM), instead of the one that is made here; TLS is then used at
            an address of this machine too.
        tls_key: file of its key (PEM), if that is not in the same file.
        limits: those of ``rpc-magic serve --limit``, by name, as ``{"message": 8 * 10**9}``.

    Raises:
        ValueError: arguments that do not fit together.

    Example::

        server = rpc_magic.Server("tcp://127.0.0.1:8000")
        server.register(add)
        server.serve_forever()
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token_file: str | os.PathLike[str] | None = None,
        name: str | None = None,
        sessions: bool = True,
        arguments: str = "any",
        threads: int = 1,
        tls_cert: str | os.PathLike[str] | None = None,
        tls_key: str | os.PathLike[str] | None = None,
        limits: Mapping[str, int] | None = None,
    ) -> None:
        if threads < 1:
            raise ValueError(f"threads must be 1 or more, not {threads}")
        if tls_key is not None and tls_cert is None:
            raise ValueError("tls_key is the key of a certificate: give that too, as tls_cert")
        limits = _checked(limits or {})
        settings = _settings(limits)
        self._exposed = Exposed(arguments, settings.message)
        self._threads = threads
        self._config = launch.SupervisorConfig(
            url=_secured(url or "127.0.0.1:0") if tls_cert is not None else url or _DEFAULT_URL,
            name=name or "",
            token_file=_path(token_file),
            sessions=sessions,
            plain_arguments=arguments == "data",
            watch_pid=os.getpid(),
            orphan_seconds=0.0,
            tls_cert=_path(tls_cert),
            tls_key=_path(tls_key),
            limits=limits,
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._calls = Calls(self._exposed, threads, settings)
        self._url = ""

    @property
    def url(self) -> str:
        """Where it listens; empty before `start`."""
        return self._url

    @overload
    def register(self, f: F, name: str | None = None) -> F: ...

    @overload
    def register(self, f: None = None, name: str | None = None) -> Callable[[F], F]: ...

    def register(self, f: F | None = None, name: str | None = None) -> F | Callable[[F], F]:
        """Expose a function, under its own name or `name`; also a decorator. May be called while serving.

        Raises:
            TypeError, ValueError: it cannot be exposed; see `Exposed.add`.
        """
        if f is None:
            return lambda function: self.register(function, name)
        self._exposed.add(f, name)
        return f

    def start(self) -> str:
        """Begin to listen; return the URL. Calls wait until `serve_forever`, unless `threads` is more than one.

        Raises:
            ConnectError: it cannot listen there.
        """
        if self._process is None:
            mine, theirs = PacketSocket.pair()
            try:
                config = msgspec.structs.replace(self._config, program_fd=theirs.fileno())
                self._process, self._url = launch.start(config, pass_fds=(theirs.fileno(),), timeout=30.0)
            except BaseException:
                mine.close()
                raise
            finally:
                theirs.close()
            self._calls.listen(mine)
        return self._url

    def serve_forever(self) -> None:
        """Run calls until `close` is called, Ctrl-C is pressed, or the supervisor is gone.

        With one thread the functions run on the calling thread. The URL is printed first.
        """
        fresh = self._process is None
        self.start()
        if fresh:
            print(self._url, flush=True)  # noqa: T201 - as `rpc-magic serve` does
        try:
            self._calls.run()
        except KeyboardInterrupt:
            pass
        finally:
            self.close()

    def close(self) -> None:
        """End the server; a call that runs ends first. May be called more than once, from any thread."""
        self._calls.end()
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None, /
    ) -> None:
        self.close()


def _checked(limits: Mapping[str, int]) -> dict[str, int]:
    for name, value in limits.items():
        if name not in LIMITS:
            raise ValueError(f"a limit is one of {', '.join(LIMITS)}, not {name!r}")
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"the limit {name!r} must be a whole number from 1 on, not {value!r}")
    return dict(limits)


def _settings(limits: Mapping[str, int]) -> WorkerSettings:
    """Return those of the limits that hold in a program."""
    return WorkerSettings(**{name: limits[name] for name in ("message", "calls") if name in limits})


def main() -> int:
    """Expose the modules that a supervisor names: ``python -m rpc_magic.worker.program DESCRIPTOR CONFIG``."""
    die_with_parent()  # a function that runs on must not outlive its server
    packets = PacketSocket.from_descriptor(int(sys.argv[1]))
    config = msgspec.json.decode(sys.argv[2], type=launch.SupervisorConfig)
    settings = _settings(config.limits)
    exposed = Exposed("data" if config.plain_arguments else "any", settings.message)
    try:
        for module in config.expose:
            for name, function in public_functions(import_module(module)).items():
                exposed.add(function, name)
    except (ImportError, RpcMagicError, ValueError) as error:
        print(f"rpc-magic: {error}", file=sys.stderr)  # noqa: T201 - a program's own words
        return 2
    calls = Calls(exposed, config.threads, settings)
    calls.listen(packets)
    calls.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
