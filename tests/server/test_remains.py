"""What sessions that have died leave: for how long, of how many, and to whom."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from rpc_magic.runtime.keptremains import Death
from rpc_magic.runtime.keptsessions import digest_of
from rpc_magic.server.remains import Remains, RemainsTable
from rpc_magic.server.supervisor import Supervisor
from rpc_magic.settings import ServerSettings
from rpc_magic.wire.handshake import Role

FORGOTTEN: list[str] = []


@pytest.fixture
def table() -> Iterator[RemainsTable]:
    FORGOTTEN.clear()
    one = RemainsTable(ServerSettings(sessions=2))
    yield one
    for remains in list(one._all.values()):
        remains.close()


def left(name: str, *, has_spool: bool = True, is_private: bool = False, client: bytes = b"c") -> Remains:
    spool = os.memfd_create(name) if has_spool else -1
    death = Death(name, is_private, digest_of(name.encode()), digest_of(client), "killed", "")
    return Remains(death, True, spool, lambda: FORGOTTEN.append(name), 0.0)


def test_many_others_end_meanwhile(table: RemainsTable) -> None:
    """What a session has left is not given up for others that have left nothing, however many these are."""
    table.add(left("train"))
    for n in range(1000):
        table.add(left(f"quick-{n}", has_spool=False, is_private=True))
    assert table.take("train") is not None
    assert not FORGOTTEN
    assert table.death(b"quick-999") is not None
    assert table.death(b"quick-1") is None


def test_more_than_may_be(table: RemainsTable) -> None:
    """Of more dead sessions than may live at once the oldest go."""
    for name in ("one", "two", "three"):
        table.add(left(name))
    assert FORGOTTEN == ["one"]
    assert table.take("one") is None
    assert table.death(b"one") is not None, "how it ended is still known"


def test_whose_they_are(table: RemainsTable) -> None:
    """Only the session's last client is given what it had not sent; a private session's go with its client."""
    table.add(left("private-1", is_private=True, client=b"mine"))
    assert table.spool_of(b"private-1", b"mine") >= 0
    assert table.spool_of(b"private-1", b"other") == -1
    assert table.take("private-1") is None
    table.leave(b"other")
    assert not FORGOTTEN
    table.leave(b"mine")
    assert FORGOTTEN == ["private-1"]
    assert table.spool_of(b"private-1", b"mine") == -1


@pytest.mark.parametrize(("is_alive", "expected"), [(True, -1), (False, 5)])
def test_a_session_that_was_had_back_serves_its_client_itself(is_alive: bool, expected: int) -> None:
    """It has the ticket of the former one, which has left something too: that is not what a client goes on with."""
    remains = SimpleNamespace(spool_of=lambda ticket, client: 5)
    sessions = SimpleNamespace(has=lambda ticket: is_alive, remains=remains)
    hello = SimpleNamespace(role=Role.DATA, ticket=b"t" * 16, client=b"c" * 16, resume=3)
    assert Supervisor._rest_for(SimpleNamespace(sessions=sessions), hello) == expected
