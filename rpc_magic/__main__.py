"""``python -m rpc_magic`` is ``rpc-magic``."""

import sys

from rpc_magic.cli import main

sys.exit(main())
