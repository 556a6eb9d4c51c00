"""The status page: what one process writes, another reads."""

from __future__ import annotations

import os
import struct

import pytest

from rpc_magic.wire import internal
from rpc_magic.worker.statuspage import StatusPage


@pytest.fixture
def page():
    """A page's memory."""
    descriptor = os.memfd_create("page")
    os.ftruncate(descriptor, internal.PAGE_SIZE)
    yield descriptor
    os.close(descriptor)


def want(descriptor, call):
    """Write the call that an interrupt is meant for, as the supervisor does."""
    (number,) = struct.unpack("=Q", os.pread(descriptor, 8, internal.INTERRUPTS_AT))
    os.pwrite(descriptor, struct.pack("=Q", call), internal.RING_AT + number % internal.RING * 8)
    os.pwrite(descriptor, struct.pack("=Q", number + 1), internal.INTERRUPTS_AT)


def test_calls_and_drained_bytes(page):
    """Begin, end and the counter are seen through another mapping of the same memory."""
    worker, keeper = StatusPage(page), StatusPage(page)
    worker.begin(7)
    call, began, *_ = internal.STATUS_PAGE.unpack(os.pread(page, internal.STATUS_PAGE.size, 0))
    assert call == 7
    assert began > 0
    keeper.add_drained(10)
    keeper.add_drained(5)
    assert worker.drained() == 15
    worker.end()
    assert internal.STATUS_PAGE.unpack(os.pread(page, internal.STATUS_PAGE.size, 0))[0] == 0


def test_whom_an_interrupt_is_for(page):
    """One for another call is not wanted; one for whatever runs always is."""
    worker = StatusPage(page)
    worker.begin(7)
    assert worker.is_interrupt_wanted()
    want(page, 6)
    assert not worker.is_interrupt_wanted()
    want(page, 7)
    assert worker.is_interrupt_wanted()
    assert not worker.is_interrupt_wanted(), "one interrupt is one"
    want(page, 0)
    assert worker.is_interrupt_wanted()


@pytest.mark.parametrize("calls", [(7, 8), (8, 7), (9, 7, 8), (0, 8)])
def test_several_interrupts_before_it_looks(page, calls):
    """None takes another one's place; what was meant for a call that waits stops that one when it begins."""
    worker = StatusPage(page)
    worker.begin(7)
    for call in calls:
        want(page, call)
    assert worker.is_interrupt_wanted()
    assert not worker.is_interrupt_wanted()
    assert worker.is_stopped(8)
    assert not worker.is_stopped(10)


def test_more_interrupts_than_the_ring_holds(page):
    """The latest ones count."""
    worker = StatusPage(page)
    worker.begin(1000)
    for call in (1000, *range(1, internal.RING + 1)):
        want(page, call)
    assert not worker.is_interrupt_wanted()
    assert worker.is_stopped(internal.RING)
    want(page, 1000)
    assert worker.is_interrupt_wanted()


def test_interrupt_that_came_before_its_call(page):
    """It stops the call when that begins; one of an earlier client stops nobody of the next."""
    worker = StatusPage(page)
    assert not worker.is_stopped(0)
    want(page, 9)
    assert worker.is_stopped(9)
    assert not worker.is_stopped(8)
    worker.forget_interrupts()
    assert not worker.is_stopped(9)
    want(page, 10)
    assert worker.is_stopped(10)
