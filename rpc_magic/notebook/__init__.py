"""The notebook's side: magics, rendering, status and widget; the only package that knows Jupyter and IPython.

Importing it does nothing; `load` registers everything with a shell, `unload` takes it away again.
"""

from __future__ import annotations

import re
from typing import Any

from IPython.core.getipython import get_ipython

from rpc_magic.client import Connection
from rpc_magic.notebook.completing import Completer
from rpc_magic.notebook.errors import UsageError
from rpc_magic.notebook.extension import Extension
from rpc_magic.notebook.magics import CallMagics
from rpc_magic.notebook.server_magics import ServerMagics

__all__ = ["connection", "load", "unload"]

_ATTRIBUTE = "_rpc_magic_extension"
_OURS = re.compile(r"(?:.*=\s*)?%%?rpc_\w+")


def load(shell: Any) -> None:
    """Register the magics with a shell; once is enough, twice does no harm.

    Args:
        shell: IPython's shell.
    """
    if getattr(shell, _ATTRIBUTE, None) is not None:
        return
    extension = Extension(shell)
    setattr(shell, _ATTRIBUTE, extension)
    shell.register_magics(CallMagics(shell, extension), ServerMagics(shell, extension))
    shell.set_hook("complete_command", Completer(extension.registry), re_key=_OURS)


def connection(name: str | None = None) -> Connection:
    """Return the connection that ``%rpc_connect`` made: its session is that of the notebook's remote cells.

    Args:
        name: the server's name in the notebook; None for the one that was connected last.

    Raises:
        UsageError: there is none of that name, or this is no notebook that has loaded the extension.
    """
    extension = getattr(get_ipython(), _ATTRIBUTE, None)
    if extension is None:
        raise UsageError("%load_ext rpc_magic has not run here; in plain Python, use rpc_magic.connect()")
    found: Connection = extension.registry.get(name).connection
    return found


def unload(shell: Any) -> None:
    """Close all connections and take the magics away from a shell.

    Args:
        shell: IPython's shell.
    """
    extension = getattr(shell, _ATTRIBUTE, None)
    if extension is None:
        return
    extension.close()
    shell.strdispatchers["complete_command"].regexs.pop(_OURS, None)
    delattr(shell, _ATTRIBUTE)
    magics = shell.magics_manager.magics
    for kind in ("line", "cell"):
        for name in [name for name in magics[kind] if name.startswith("rpc_")]:
            del magics[kind][name]
