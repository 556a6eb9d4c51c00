"""Installing libraries where a session runs: what ``%rpc_pip`` calls there."""

from __future__ import annotations

import importlib
import shlex
import sys
from importlib import metadata

from rpc_magic.worker.commands import run_command

__all__ = ["pip"]


def pip(arguments: list[str]) -> int:
    """Run pip with the session's interpreter, showing what it prints as it prints it.

    Args:
        arguments: pip's, as ``["install", "polars"]``.

    Returns:
        Its exit status.

    Raises:
        KeyboardInterrupt: Stop was pressed; pip has ended.
    """
    before = _versions()
    status = run_command(shlex.join([sys.executable, "-m", "pip", *arguments]))
    importlib.invalidate_caches()
    after = _versions()
    changed = {name for name, version in before.items() if after.get(name) != version}
    loaded = sorted(
        top
        for top, distributions in metadata.packages_distributions().items()
        if top in sys.modules and changed.intersection(distributions)
    )
    if loaded:
        sys.stdout.write(
            f"{', '.join(loaded)}: imported already; this session keeps the version it has until %rpc_restart\n"
        )
    return status


def _versions() -> dict[str, str]:
    return {found.name: found.version for found in metadata.distributions() if found.name}
