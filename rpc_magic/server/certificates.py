"""The server's certificate: made once, kept in the user's private folder, told by its fingerprint.

Nobody has signed it but its own key, and it does not expire: clients know it by its fingerprint, and by the proof of
the token, which covers it. Key and certificate are one file, so that they are there together or not at all.
"""

from __future__ import annotations

import datetime as dt
import os
import ssl
import stat
from pathlib import Path
from typing import NamedTuple

from rpc_magic.errors import RpcMagicError
from rpc_magic.runtime.folders import private_folder, state_folder
from rpc_magic.runtime.privatefiles import writing
from rpc_magic.transport.tls import certificate_hash, server_context

__all__ = ["Identity", "find_identity", "new_identity"]

_END = b"-----END CERTIFICATE-----"


class Identity(NamedTuple):
    """What a server shows and keeps.

    Attributes:
        context: for its connections.
        hash: of its certificate.
    """

    context: ssl.SSLContext
    hash: bytes


def find_identity(certificate: str = "", key: str = "") -> Identity:
    """Return a server's identity.

    Args:
        certificate: file (PEM) of one of the user's own; empty takes ours, which is made when it is first needed.
        key: file (PEM) of its key; empty when that is in the same file.

    Raises:
        RpcMagicError: a file cannot be used.
    """
    if not certificate:
        path = private_folder(state_folder() / "tls") / "server.pem"
        if not path.exists():
            _make(path)
        return _load(path, None)
    return _load(Path(certificate), Path(key) if key else None)


def _load(certificate: Path, key: Path | None) -> Identity:
    secret = key or certificate
    try:
        if b"PRIVATE KEY-----" not in secret.read_bytes():
            way = (
                "name the file of the certificate's key"
                if key
                else "name the file that holds it, with --tls-key"
            )
            raise RpcMagicError(f"there is no private key in {secret}; {way}")
        if os.name == "posix" and stat.S_IMODE(secret.stat().st_mode) & 0o007:
            raise RpcMagicError(f"everyone may read the private key in {secret}; run: chmod 600 {secret}")
        pem = certificate.read_bytes()
        context = server_context(certificate, key)
        first = pem[pem.index(b"-----BEGIN CERTIFICATE-----") : pem.index(_END) + len(_END)]
        return Identity(context, certificate_hash(ssl.PEM_cert_to_DER_cert(first.decode("ascii"))))
    except ssl.SSLError:
        reason = "they are no certificate and its own key in PEM form, or the key is encrypted"
    except OSError as error:
        reason = error.strerror or str(error)
    except ValueError:
        reason = "it holds no certificate in PEM form"
    files = f"{certificate} and {key}" if key else str(certificate)
    raise RpcMagicError(f"the TLS certificate in {files} cannot be used: {reason}")


def _make(path: Path) -> None:
    """Make key and certificate; of two servers that do so at once, the first one's stay."""
    with writing(path, replace=False) as file:
        file.write(new_identity())


def new_identity() -> bytes:
    """Return a fresh key and the certificate that it has signed for itself, in PEM form."""
    # Loaded when it is needed, which is once.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "rpc_magic")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC))  # RFC 5280: it has no end
        .sign(key, hashes.SHA256())
    )
    secret: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    shown: bytes = certificate.public_bytes(serialization.Encoding.PEM)
    return secret + shown
