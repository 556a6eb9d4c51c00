"""What is said on a connection, byte by byte: frames, messages and the handshake.

Pure: bytes in, messages out; no sockets, threads, pickle or clocks. `docs/protocol.md` is the normative text.
"""
