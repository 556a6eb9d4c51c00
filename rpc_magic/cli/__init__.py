"""The command ``rpc-magic``.

A subcommand's module is loaded when it is the one that runs: ``rpc-magic version`` and ``rpc-magic serve`` load
neither IPython nor dill.
"""

from rpc_magic.cli.program import main

__all__ = ["main"]
