"""Engines: where `conn.map` and `conn.pool` run their tasks.

An engine is given tasks, opaque payloads with the digest of a function, and gives back an outcome for each. The
local engine, `rpc_magic.engines.local`, runs them in processes on the server's machine. Another engine is one more
file with the methods of `rpc_magic.engines.base.Engine`.
"""
