"""The limit of a session's memory: what counts, which way it is kept, and what is told of it."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rpc_magic.worker.memory import MemoryLimit, family, oom_kills, resident


class Machine:
    """A machine's files, as the kernel would show them."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.groups = folder / "proc", folder / "groups"
        (self.proc / "self").mkdir(parents=True)
        (self.groups / "user").mkdir(parents=True)
        self.killed(3)

    def killed(self, count: int) -> None:
        (self.proc / "vmstat").write_text(f"nr_free_pages 5\noom_kill {count}\n")

    def process(self, pid: int, pages: int, *children: int) -> None:
        task = self.proc / str(pid) / "task" / str(pid)
        task.mkdir(parents=True, exist_ok=True)
        (task / "children").write_text(" ".join(map(str, children)))
        (self.proc / str(pid) / "statm").write_text(f"999999 {pages} 3 1 0 5 0\n")

    def allow_groups(self, controllers: str = "cpu memory") -> None:
        (self.proc / "self" / "cgroup").write_text("4:memory:/old\n0::/user\n")
        (self.groups / "user" / "cgroup.subtree_control").write_text(controllers)

    def limit(self, size: int) -> MemoryLimit:
        return MemoryLimit(size, "rpc_magic-1", self.proc, self.groups)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_descendants_count(machine: Machine) -> None:
    """A process counts with all that it has forked, however deep; one that has ended counts nothing."""
    machine.process(1, 10, 2, 3)
    machine.process(2, 20, 4)
    machine.process(4, 40)
    assert family([1], machine.proc) == {1, 2, 3, 4}
    assert resident([1], machine.proc) == 70 * mmap.PAGESIZE


def test_of_this_machine() -> None:
    """The real files are read: this process and a child of it."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert family([os.getpid()]) >= {os.getpid(), child.pid}
        assert resident([os.getpid()]) > resident([child.pid]) > 0
        assert oom_kills() >= 0
    finally:
        child.communicate(b"\n")


def test_watch(machine: Machine) -> None:
    """Without control groups the keeper looks; over the limit is told with the limit, also when it has shrunk since."""
    limit = machine.limit(20 * mmap.PAGESIZE)
    machine.process(1, 20)
    assert limit.is_watched
    assert not limit.look([1])
    assert limit.explain() == ""
    machine.process(1, 21)
    assert limit.look([1])
    machine.process(1, 1)
    assert limit.look([1])
    assert limit.explain() == "ran out of memory: limit 81.92 kB, of --memory-limit"


def test_the_machine(machine: Machine) -> None:
    """When the kernel has killed since, that is told, with a limit or without one."""
    limit = machine.limit(0)
    assert not limit.is_watched
    assert limit.explain() == ""
    machine.killed(4)
    assert limit.explain() == "the machine ran out of memory"


def test_a_machine_that_does_not_tell(tmp_path: Path) -> None:
    """Without the kernel's files there is no explanation, and no error."""
    limit = MemoryLimit(1, "x", tmp_path, tmp_path)
    assert not limit.look([1])
    assert limit.explain() == ""
    limit.close()


def test_group(machine: Machine) -> None:
    """Where a control group can be made, the kernel keeps the limit; its kills are told, its end takes all with it."""
    machine.allow_groups()
    limit = machine.limit(5_000_000)
    group = machine.groups / "user" / "rpc_magic-1"
    assert not limit.is_watched
    assert (group / "memory.max").read_text() == "5000000"
    assert (group / "memory.oom.group").read_text() == "1"
    limit.add(7)
    assert (group / "cgroup.procs").read_text() == "7"
    (group / "memory.events").write_text("low 0\noom 1\noom_kill 0\n")
    assert limit.explain() == ""
    (group / "memory.events").write_text("low 0\noom 1\noom_kill 2\n")
    assert limit.explain() == "ran out of memory: limit 5 MB, of --memory-limit"
    limit.close()
    assert (group / "cgroup.kill").read_text() == "1"


def test_groups_that_are_not_permitted(machine: Machine) -> None:
    """Without the controller, the right to make one, or to move a process into it, the keeper looks."""
    machine.allow_groups("cpu")
    assert machine.limit(1).is_watched
    machine.allow_groups()
    (machine.groups / "user" / "rpc_magic-1").write_text("in the way")
    assert machine.limit(1).is_watched
    (machine.groups / "user" / "rpc_magic-1").unlink()
    limit = machine.limit(1)
    (machine.groups / "user" / "rpc_magic-1" / "cgroup.procs").mkdir()
    limit.add(7)
    assert limit.is_watched
