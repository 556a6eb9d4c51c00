"""Tensors of torch, where it is installed; it is no dependency of the tests."""

from __future__ import annotations

import pytest

from rpc_magic import serial

torch = pytest.importorskip("torch", reason="torch is not installed")

MODEL = """
    import torch
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(100, 100)
            self.tied = torch.nn.Linear(100, 100, bias=False)
            self.tied.weight = self.layer.weight
            self.register_buffer("scale", torch.ones(3000))
        def forward(self, x): return self.tied(torch.relu(self.layer(x)))
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    data = torch.ones(4, 100)
    with torch.no_grad(): wanted = net(data)
    def probe():
        same = torch.equal(net(data), wanted) and type(net) is Net
        net(data).sum().backward()
        optimizer.step()
        return same and net.tied.weight is net.layer.weight and not torch.equal(net(data), wanted)
"""


def trip(value):
    buffers = [bytearray(buffer) for buffer in serial.encode(value)]
    return serial.decode(buffers), buffers


def test_storage_travels_once_and_out_of_band():
    """Views of one tensor share its storage afterwards, whose bytes leave by reference and once."""
    whole = torch.arange(1_000_000, dtype=torch.float32)
    head, *out_of_band = serial.encode([whole, whole[:10], whole.view(1000, 1000).T])
    assert len(memoryview(head)) < 1000
    assert [memoryview(buffer).nbytes for buffer in out_of_band] == [4_000_000]
    whole[1] = 5.0
    (copy, part, turned), _ = trip([whole, whole[:10], whole.view(1000, 1000).T])
    copy[0] = 7.0
    assert part.tolist()[:2] == [7.0, 5.0]
    assert turned[0, 0] == 7.0
    assert turned.stride() == (1, 1000)


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.ones(3000, requires_grad=True),
        lambda: torch.nn.Parameter(torch.ones(2), requires_grad=False),
        lambda: torch.ones(3000, dtype=torch.bfloat16),
        lambda: torch.ones(2000, dtype=torch.complex64).conj(),
        lambda: torch.empty(0, 3),
        lambda: torch.tensor(3.5),
        lambda: torch.tensor([True, False]),
        lambda: torch.ones(3, requires_grad=True) * 2,
    ],
)
def test_kinds(make):
    """Type, contents, class and `requires_grad` are kept."""
    tensor = make()
    copy, _ = trip(tensor)
    assert type(copy) is type(tensor)
    assert (copy.dtype, copy.shape, copy.requires_grad) == (tensor.dtype, tensor.shape, tensor.requires_grad)
    assert torch.equal(copy, tensor)


def test_sparse():
    """A sparse tensor is made of others."""
    copy, _ = trip(torch.eye(100).to_sparse())
    assert copy.is_sparse
    assert torch.equal(copy.to_dense(), torch.eye(100))


def test_read_only_bytes_are_copied():
    """There are no read-only tensors: what arrives so is copied."""
    buffers = [bytes(buffer) for buffer in serial.encode(torch.ones(5000))]
    copy = serial.decode(buffers)
    copy[0] = 2
    assert serial.decode(buffers)[0] == 1


def test_model_of_a_cell(notebook, peer):
    """A module made in a cell, its tied weights and its optimizer go on together."""
    notebook.run(MODEL)
    assert peer.call(notebook, notebook["probe"])
