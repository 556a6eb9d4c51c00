"""dill's own tests, which it ships, run with our functions in the place of dill's."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "serializer.md"
SUITE = Path(find_spec("dill").submodule_search_locations[0]) / "tests"
FILES = sorted(path.name for path in SUITE.glob("test_*.py"))

ROW = re.compile(r"^\| `(test_\w+\.py)` \| `(.+?)` \| .+ \|$", re.MULTILINE)

RUN = """
import sys
sys.path.append(sys.argv.pop(1))
from dill_suite import main
main(*sys.argv[1:])
"""


def listed():
    """Return the exceptions that the page lists: (file, case)."""
    return set(ROW.findall(PAGE.read_text(encoding="utf-8")))


def outcome(which, file, folder):
    """Run a file's cases in a process of its own; return case to error."""
    shutil.copytree(SUITE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    report = folder / "report.json"
    command = [sys.executable, "-W", "ignore", "-c", RUN, str(HERE), which, str(folder / file), str(report)]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=200)
    assert run.returncode == 0, run.stderr
    return json.loads(report.read_text())


def test_there_is_a_suite():
    """Dill ships its tests, and the page names only files that it has."""
    assert len(FILES) > 20
    assert {file for file, _ in listed()} <= set(FILES)


@pytest.mark.parametrize("file", FILES)
def test_file(file, tmp_path):
    """What dill passes, we pass, but for the cases that `docs/serializer.md` lists with a reason."""
    dills, ours = outcome("dill", file, tmp_path / "dill"), outcome("ours", file, tmp_path / "ours")
    assert dills.keys() == ours.keys()
    failed = {case: error for case, error in ours.items() if error and not dills[case]}
    exceptions = {case for name, case in listed() if name == file}
    assert failed.keys() == exceptions, failed
