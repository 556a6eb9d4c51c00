"""Addresses, folders, tokens, records, processes: what clients and servers of one user share."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from rpc_magic.errors import ConnectError, RpcMagicError
from rpc_magic.runtime import folders, processes, records, tokens
from rpc_magic.runtime.addresses import Address, is_address, parse_address, short_url


@pytest.fixture(autouse=True)
def runtime(tmp_path, monkeypatch):
    """A runtime folder of the test's own."""
    folder = tmp_path / "r"
    monkeypatch.setenv("RPC_MAGIC_RUNTIME_DIR", str(folder))
    return folder


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:8000", Address("tcp", "127.0.0.1", 8000)),
        ("tcp://127.0.0.1:8000/", Address("tcp", "127.0.0.1", 8000)),
        ("127.9.9.9:1", Address("tcp", "127.9.9.9", 1)),
        ("[::1]:8000", Address("tcp", "::1", 8000)),
        ("unix:///run/x.sock", Address("unix", path="/run/x.sock")),
        ("0.0.0.0:80", Address("rpc", "0.0.0.0", 80)),
        ("192.0.2.1:80", Address("rpc", "192.0.2.1", 80)),
        ("rpc://127.0.0.1:80", Address("rpc", "127.0.0.1", 80)),
        ("rpc://lab.example:80/?fp=" + "aB" * 32, Address("rpc", "lab.example", 80, fingerprint="ab" * 32)),
        ("rpc://[2001:db8::1]:80/", Address("rpc", "2001:db8::1", 80)),
    ],
)
def test_addresses(text, address):
    """Each spelling is read, and its URL is read as the same."""
    assert is_address(text)
    assert parse_address(text) == address
    assert parse_address(address.url) == address


@pytest.mark.parametrize(
    "text",
    [
        "localhost",
        "tcp://",
        "tcp://:80",
        "x:y",
        "localhost:65536",
        "tcp://0.0.0.0:80",
        "tcp://192.0.2.1:80",
        "tcp://127.0.0.1:80/?fp=" + "ab" * 32,
        "rpc://127.0.0.1:80/?fp=" + "ab" * 31,
        "rpc://127.0.0.1:80/?fp=",
        "rpc://127.0.0.1:80/?pf=" + "ab" * 32,
        "rpc:///run/x.sock",
        "unix://host/x",
        "a b:1",
        "é:1",
    ],
)
def test_no_addresses(text):
    """Anything else is refused."""
    with pytest.raises(ConnectError):
        parse_address(text)


def test_private_folder(tmp_path):
    """It is made with mode 0700; one that others can enter, a file and a link are refused."""
    path = folders.private_folder(tmp_path / "a" / "b")
    assert path.stat().st_mode & 0o777 == 0o700
    path.chmod(0o750)
    with pytest.raises(RpcMagicError, match="chmod 700"):
        folders.private_folder(path)
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(RpcMagicError):
        folders.private_folder(tmp_path / "link")


def test_long_socket_paths_move(tmp_path, monkeypatch):
    """Where the runtime folder is too deep the socket is made in a short private folder."""
    assert folders.socket_path("s").parent == folders.runtime_folder()
    monkeypatch.setenv("RPC_MAGIC_RUNTIME_DIR", str(tmp_path / ("x" * 100)))
    path = folders.socket_path("s")
    assert len(os.fsencode(path)) < 100
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_tokens(tmp_path):
    """A written token is read again, is 0600, replaces in one step; nothing of a wrong one is repeated."""
    path = tmp_path / "t"
    one, two = tokens.new_token(), tokens.new_token()
    assert one != two
    tokens.write_token(path, one)
    assert tokens.read_token(path) == one
    assert path.stat().st_mode & 0o777 == 0o600
    tokens.write_token(path, two)
    assert tokens.read_token(path) == two
    assert [p.name for p in tmp_path.iterdir()] == ["t"]
    secret = "5ec2e7" * 10
    with pytest.raises(RpcMagicError) as caught:
        tokens.parse_token(secret)
    assert secret[:6] not in str(caught.value)
    with pytest.raises(RpcMagicError, match="cannot be read"):
        tokens.read_token(tmp_path)


def test_records():
    """A record is found by name and URL while its process lives; dead and broken ones are removed."""
    here = os.getpid()
    mine = records.ServerRecord("mine", "tcp://127.0.0.1:1", here, processes.start_time(here), "")
    records.write(mine)
    assert records.find("mine") == records.find("tcp://127.0.0.1:1") == mine
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    records.write(records.ServerRecord("dead", "tcp://127.0.0.1:2", child.pid, 5, ""))
    records.write(records.ServerRecord("other", "tcp://127.0.0.1:3", here, 5, ""))
    folder = folders.runtime_folder() / "servers"
    (folder / "broken.json").write_text("{")
    assert records.living() == [mine]
    assert [p.name for p in folder.iterdir()] == ["mine.json"]
    newer = records.ServerRecord("mine", "tcp://127.0.0.1:9", here, mine.started, "")
    records.write(newer)
    records.remove(mine)
    assert records.find("mine") == newer
    records.remove(newer)
    assert records.find("mine") is None
    for name in ("", "-x", "a/b", "../x", "a b", "x" * 65, "1st"):
        with pytest.raises(RpcMagicError):
            records.check_name(name)


def test_processes():
    """A living process has a start time; one that has ended, waited for or not, has none."""
    assert processes.start_time(os.getpid()) > 0
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert processes.start_time(child.pid) == 0
    child.wait()
    assert processes.start_time(child.pid) == 0
    assert processes.machine_id() == processes.machine_id()
    assert len(processes.machine_id()) == 32
    assert processes.python_tag()[:2] == sys.version_info[:2]


def test_runtime_is_light():
    """What the supervisor stands on loads no pickle and nothing that does."""
    code = (
        "import sys\nfrom rpc_magic.runtime import addresses, folders, launch, processes, records, tokens\n"
        "print([m for m in ('pickle', 'dill', 'numpy', 'IPython') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )


def test_state_folder(tmp_path, monkeypatch, runtime):
    """What outlives a restart lies with the user's data; where no folder can be made there, beside what does not."""
    assert folders.state_folder() == runtime
    monkeypatch.delenv("RPC_MAGIC_RUNTIME_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert folders.state_folder() == tmp_path / "data" / "rpc_magic"
    assert folders.state_folder().stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    assert folders.state_folder() == tmp_path / "run" / "rpc_magic"


def test_a_token_does_not_show_itself():
    """Its text and repr, which tracebacks and logs may show, say nothing; its bytes are there."""
    token = tokens.parse_token("ab" * 32)
    assert token == bytes.fromhex("ab" * 32)
    assert f"{token} {token!r} {[token]}" == "<token> <token> [<token>]"


def test_rotation():
    """A replaced token is good for the stated time, whatever the clock is set to; the file has the new one only."""
    path = tokens.token_path("lab")
    tokens.write_token(path, first := tokens.new_token())
    assert tokens.read_old_token(path) is None
    tokens.rotate(path, 60.0)
    assert tokens.read_token(path) != first
    old, left = tokens.read_old_token(path)
    assert old == first
    assert 50 < left <= 60
    for file in path.parent.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600
    beside = path.with_name("lab.token.old")
    digits, _, until = beside.read_text().split()
    beside.write_text(f"{digits} 60.0 {float(until) + 1e9}")
    assert tokens.read_old_token(path)[1] == 60.0
    beside.write_text(f"{digits} 60.0 {float(until) - 1e9}")
    assert tokens.read_old_token(path) is None
    beside.write_text("nonsense")
    assert tokens.read_old_token(path) is None
    tokens.rotate(path, 0.0)
    assert tokens.read_old_token(path) is None


def test_short_urls():
    """Where there is little room a URL is shown without its fingerprint."""
    assert short_url("rpc://lab:8000/?fp=" + "ab" * 32) == "rpc://lab:8000"
    assert short_url("unix:///run/x.sock") == "unix:///run/x.sock"
