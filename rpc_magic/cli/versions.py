"""``rpc-magic version``."""

from __future__ import annotations

import argparse
import platform

from rpc_magic._version import __version__

__all__ = ["run"]


def run(_: argparse.Namespace) -> int:
    """Print the version, and Python's: between two minor versions of Python functions travel as source."""
    print(f"rpc_magic {__version__} (Python {platform.python_version()})")
    return 0
