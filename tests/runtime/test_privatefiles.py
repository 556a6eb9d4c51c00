"""Files that are there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from rpc_magic.runtime.privatefiles import writing


def write(path: Path, data, *, replace: bool = True) -> None:
    with writing(path, replace=replace) as file:
        file.write(data)


def test_written_and_replaced(tmp_path: Path) -> None:
    """Nobody else may read it; another one takes its place."""
    path = tmp_path / "file"
    write(path, b"one")
    write(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_the_first_one_stays(tmp_path: Path) -> None:
    """Without replacing, what is there is as it was."""
    path = tmp_path / "file"
    write(path, b"one", replace=False)
    write(path, b"two", replace=False)
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_left_of_what_failed(tmp_path: Path) -> None:
    """What was there is as it was, and nothing lies beside it."""
    path = tmp_path / "file"
    write(path, b"one")
    with pytest.raises(TypeError):
        write(path, "no bytes")
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]
