"""The server's certificate: made once, private, known by its fingerprint; one of the user's own in its place."""

from __future__ import annotations

import concurrent.futures
import ssl
from pathlib import Path

import pytest

from rpc_magic.errors import RpcMagicError
from rpc_magic.server.certificates import find_identity, new_identity
from rpc_magic.transport.tls import certificate_hash

MARK = b"-----BEGIN CERTIFICATE-----"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private folder of the test's own."""
    path = tmp_path / "r"
    monkeypatch.setenv("RPC_MAGIC_RUNTIME_DIR", str(path))
    return path


def own(folder: Path) -> tuple[Path, Path]:
    """Write a certificate and its key to two files."""
    pem = new_identity()
    key, certificate = folder / "key.pem", folder / "cert.pem"
    key.touch(0o600)
    key.write_bytes(pem[: pem.index(MARK)])
    certificate.write_bytes(pem[pem.index(MARK) :])
    return certificate, key


def test_made_once(folder: Path) -> None:
    """The first server makes it, later ones take it; it is the user's alone, and nothing else is left."""
    first, second = find_identity(), find_identity()
    assert first.hash == second.hash
    [path] = (folder / "tls").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.unlink()
    assert find_identity().hash != first.hash


def test_made_by_two_at_once(folder: Path) -> None:
    """Of servers that start at once all have the same."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        hashes = {one.result().hash for one in [pool.submit(find_identity) for _ in range(8)]}
    assert len(hashes) == 1
    assert len(list((folder / "tls").iterdir())) == 1


def test_one_of_the_users_own(tmp_path: Path) -> None:
    """Certificate and key in two files or in one; the fingerprint is the certificate's, of several the first's."""
    certificate, key = own(tmp_path)
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    assert find_identity(str(certificate), str(key)).hash == certificate_hash(der)
    both = tmp_path / "both.pem"
    both.touch(0o600)
    authority = new_identity()
    both.write_bytes(key.read_bytes() + certificate.read_bytes() + authority[authority.index(MARK) :])
    assert find_identity(str(both)).hash == certificate_hash(der)


def test_what_cannot_be_used(tmp_path: Path) -> None:
    """No file, no certificate, another's key, no key, a key that everyone may read: one sentence each."""
    certificate, key = own(tmp_path)
    (tmp_path / "other").mkdir()
    _, other = own(tmp_path / "other")
    text = tmp_path / "text"
    text.touch(0o600)
    text.write_text("precious")
    for arguments, said in (
        ((tmp_path / "none", key), "No such file"),
        ((text, key), "cannot be used"),
        ((certificate, other), "its own key"),
        ((certificate, text), "no private key in .*; name the file of the certificate's key"),
        ((certificate,), "no private key in .*, with --tls-key"),
    ):
        with pytest.raises(RpcMagicError, match=said) as caught:
            find_identity(*map(str, arguments))
        assert "\n" not in str(caught.value)
    key.chmod(0o644)
    with pytest.raises(RpcMagicError, match=f"chmod 600 {key}"):
        find_identity(str(certificate), str(key))
