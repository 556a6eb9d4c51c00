"""Which files a module consists of; nothing outside its folder is ever among them."""

from __future__ import annotations

import os

from rpc_magic.localmodules.files import list_files, module_paths
from rpc_magic.settings import ModuleLimits

LIMITS = ModuleLimits()


def test_a_module_is_its_file(write, folder):
    """What lies beside a module of one file is not part of it."""
    file = write("helpers.py", "x = 1")
    write("secret.txt", "s")
    listing = list_files("helpers", file, LIMITS)
    assert list(listing.files) == ["helpers.py"]
    assert module_paths("helpers", file, listing) == {"helpers.py": file.resolve()}


def test_a_package_is_sources_and_data(write, folder):
    """Sources and data count; caches, hidden files and folders do not; compiled modules are named."""
    for path in ("__init__.py", "sub/__init__.py", "sub/data.csv", "fast.cpython-311-x86_64-linux-gnu.so"):
        write(f"pkg/{path}", path)
    for path in (".env", ".git/config", "__pycache__/a.pyc", "old.pyc", "node_modules/x.js"):
        write(f"pkg/{path}", path)
    listing = list_files("pkg", folder / "pkg", LIMITS)
    assert sorted(listing.files) == ["pkg/__init__.py", "pkg/sub/__init__.py", "pkg/sub/data.csv"]
    assert listing.extensions == ("pkg/fast.cpython-311-x86_64-linux-gnu.so",)
    assert set(module_paths("pkg", folder / "pkg", listing)) == set(listing.files)


def test_links_out_of_the_folder_and_odd_files_are_left_out(write, folder):
    """A link to a file elsewhere would send that file; a named pipe would be waited for."""
    write("pkg/__init__.py")
    outside = write("outside.txt", "s")
    (folder / "pkg" / "link.txt").symlink_to(outside)
    (folder / "pkg" / "inside.txt").symlink_to(folder / "pkg" / "__init__.py")
    (folder / "pkg" / "folder").symlink_to(folder)
    (folder / "pkg" / "nowhere").symlink_to(folder / "gone")
    os.mkfifo(folder / "pkg" / "pipe")
    assert sorted(list_files("pkg", folder / "pkg", LIMITS).files) == ["pkg/__init__.py", "pkg/inside.txt"]


def test_what_is_over_the_limit_is_named(write, folder):
    """Sources come first, then the smallest data; the rest is named, not sent."""
    write("pkg/__init__.py", "x" * 50)
    write("pkg/a_large.bin", b"x" * 60)
    write("pkg/small.bin", b"x" * 40)
    listing = list_files("pkg", folder / "pkg", ModuleLimits(bytes=100))
    assert list(listing.files) == ["pkg/__init__.py", "pkg/small.bin"]
    assert listing.left == ("pkg/a_large.bin",)
    few = list_files("pkg", folder / "pkg", ModuleLimits(files=1))
    assert len(few.files) == 1


def test_digests_tell_contents_apart(write, folder):
    """An edit that keeps size and second of a file changes its digest, and its signature."""
    file = write("helpers.py", "x = 1")
    first = list_files("helpers", file, LIMITS)
    os.utime(file, ns=(1, 1))
    again = list_files("helpers", file, LIMITS)
    assert again.files == first.files
    assert again.signatures != first.signatures
    file.write_text("x = 2")
    assert list_files("helpers", file, LIMITS).files != first.files


def test_a_new_file_changes_the_signatures(write, folder):
    """A submodule that is added is noticed by its folder."""
    write("pkg/sub/__init__.py")
    first = list_files("pkg", folder / "pkg", LIMITS).signatures
    os.utime(folder / "pkg" / "sub", ns=(1, 1))
    write("pkg/sub/new.py")
    assert list_files("pkg", folder / "pkg", LIMITS).signatures != first
