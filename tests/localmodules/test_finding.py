"""Which modules are the user's own."""

from __future__ import annotations

import sys
import sysconfig
from importlib.util import spec_from_file_location
from pathlib import Path

import pytest

from rpc_magic.localmodules.finding import find_module, is_installed, local_names


def test_modules_of_the_users_folders_are_found(write, folder):
    """A file, a package and a mere folder are modules; what is written a moment ago too."""
    write("one_file.py")
    write("a_package/__init__.py")
    write("a_folder/x.py")
    assert find_module("one_file").location == folder / "one_file.py"
    assert find_module("a_package").location == folder / "a_package"
    assert find_module("a_folder").location == folder / "a_folder"
    assert find_module("not_there") is None


@pytest.mark.parametrize(
    "name", ["sys", "json", "numpy", "msgspec", "rpc_magic", "__main__", "os.path", "../x", ""]
)
def test_nothing_else_is(name, folder):
    """Python's own, installed and our own modules are not the user's; nor is what is no name."""
    assert find_module(name) is None


def test_a_compiled_module_is_told_apart(write, folder):
    """It is found, and marked: it is not sent."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    write(f"fast{suffix}", b"\x7fELF")
    assert find_module("fast").is_extension


def test_site_packages_of_any_environment_are_installed(write, folder):
    """Also of an environment inside the user's folder, which is on `sys.path` of a kernel that runs in it."""
    file = write(".venv/lib/python3/site-packages/lib.py")
    assert is_installed(file)
    assert not is_installed(folder / "lib.py")
    assert is_installed(Path(sysconfig.get_path("stdlib")) / "json")


def test_finders_that_fail_find_nothing(write, folder, monkeypatch):
    """Somebody's broken import hook is no reason to end."""

    class Broken:
        def find_spec(self, name, *_):
            if name == "one_file":
                raise RuntimeError

    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    write("one_file.py")
    assert find_module("one_file").location == folder / "one_file.py"
    monkeypatch.setitem(sys.modules, "odd", object())
    assert find_module("odd") is None


def test_names_of_the_users_folders(write, folder, monkeypatch):
    """Files and packages count, folders without __init__ and names of the standard library do not."""
    write("one_file.py")
    write("a_package/__init__.py")
    write("a_folder/x.py")
    write("json.py")
    write("not-a-name.py")
    monkeypatch.setattr(sys, "path", [str(folder), str(folder / "gone"), sysconfig.get_path("purelib")])
    assert local_names() == ("a_package", "one_file")


def test_an_editable_install_is_the_users_own(write, folder, monkeypatch):
    """Build tools make a finder that maps the name to a folder outside of `sys.path`, of whatever name."""
    init = write("project/src/__init__.py")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(folder)])

    class Editable:
        def find_spec(self, name, _path=None, _target=None):
            if name == "edited_project":
                return spec_from_file_location(name, init, submodule_search_locations=[str(init.parent)])
            return None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Editable()])
    assert find_module("edited_project").location == init.parent
