# ruff: noqa: INP001, T201 - a script, which talks to the log
"""Prints where a Jupyter server leads a visitor who asks for its first page; fails unless it is the quickstart.

Usage: first_page.py PID-OF-THE-SERVER
"""

import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from jupyter_core.paths import jupyter_runtime_dir

SECONDS = 60


def first_page(record: Path) -> str:
    """Return the URL at which a visitor of the server ends up."""
    server = json.loads(record.read_text())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    url = f"http://127.0.0.1:{server['port']}/?token={server['token']}"
    with opener.open(url, timeout=SECONDS) as page:
        return page.url.split("?")[0]


def main() -> str | None:
    """Wait until the server listens; return an error, or None."""
    record = Path(jupyter_runtime_dir(), f"jpserver-{sys.argv[1]}.json")
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            url = first_page(record)
        except (FileNotFoundError, ValueError, urllib.error.URLError):
            time.sleep(0.1)
            continue
        print(f"a visitor comes to {url}")
        return None if url.endswith("/lab/tree/notebooks/quickstart.ipynb") else "that is not the quickstart"
    return "the server did not come up"


if __name__ == "__main__":
    sys.exit(main())
