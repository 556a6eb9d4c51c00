"""Comms that any thread may use: in a real kernel, what they publish belongs to their cell and pins nothing."""

from __future__ import annotations

import threading
from typing import Any

import comm
import ipywidgets
import pytest

from rpc_magic.notebook import live


class FakeKernel:
    """A kernel whose page is a list; it runs what it is given at once, on a thread of its own."""

    iopub_socket = "iopub"

    def __init__(self) -> None:
        self.session = self.io_loop = self
        self.page: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
        self.cell = "first"
        self.given: list[Any] = []

    def get_parent(self) -> dict[str, Any]:
        return {"header": {"msg_id": self.cell}, "content": "large"}

    def send(
        self, socket: str, kind: str, content: dict[str, Any], *, parent: dict[str, Any], **_: Any
    ) -> None:
        assert socket == "iopub"
        self.page.append((kind, content, parent))

    def add_callback(self, work: Any) -> None:
        self.given.append(work)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    """The kernel that this process seems to be."""
    kernel = FakeKernel()
    monkeypatch.setattr(live, "kernel_here", lambda: kernel)
    return kernel


def test_a_widget_belongs_to_its_cell(kernel: FakeKernel) -> None:
    """Whatever runs when it changes, and on whatever thread, its messages carry the cell that made it."""
    widget = type("Text", (live.LiveWidget, ipywidgets.Label), {})("a")
    kernel.cell = "second"
    thread = threading.Thread(target=lambda: setattr(widget, "value", "b"))
    thread.start()
    thread.join()
    mine = [
        (kind, content["data"]) for kind, content, _ in kernel.page if content["comm_id"] == widget.model_id
    ]
    assert [kind for kind, _ in mine] == ["comm_open", "comm_msg"]
    assert mine[0][1]["state"]["value"] == "a"
    assert mine[1][1]["state"] == {"value": "b"}
    parents = [parent for _, content, parent in kernel.page if content["comm_id"] == widget.model_id]
    assert parents == [{"header": {"msg_id": "first"}, "metadata": {}}] * 2


def test_nothing_is_pinned(kernel: FakeKernel) -> None:
    """The page, not the kernel, chooses the thread that hears what it says: ipykernel finds no wish of the comm."""
    assert not hasattr(live.create_comm(target_name="x"), "_reply_subshell_for")


def test_without_a_kernel_it_is_an_ordinary_comm(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a terminal the `comm` package decides."""
    monkeypatch.setattr(live, "kernel_here", lambda: None)
    assert type(live.create_comm(target_name="x")) is type(comm.create_comm(target_name="x"))


def test_work_for_the_main_thread(kernel: FakeKernel) -> None:
    """Given on the main thread it is done at once; on another it is left to the kernel's loop."""
    done: list[str] = []
    live.on_main_thread(lambda: done.append(threading.current_thread().name))
    assert done == [threading.main_thread().name]
    thread = threading.Thread(target=lambda: live.on_main_thread(lambda: done.append("later")))
    thread.start()
    thread.join()
    assert len(done) == 1
    kernel.given[0]()
    assert done[1] == "later"


def test_who_is_heard_while_busy() -> None:
    """A kernel without threads for comms, or with none asked for, hears nothing."""
    assert not live.hears_while_busy(FakeKernel())
