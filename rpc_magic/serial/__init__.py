"""Objects to bytes and buffers and back; the only package that imports pickle or dill.

`encode` and `decode` carry nearly anything between processes that trust each other; `encode_plain` and
`decode_plain` carry data only, safely. The theory is in the modules: `codec` (the buffers), `pickler` and
`reduce_*` (what travels how), `build*` (constructors on the wire), `tokens` (identity across processes).
"""

from __future__ import annotations

from rpc_magic.serial.codec import decode, encode
from rpc_magic.serial.context import reference
from rpc_magic.serial.digests import FunctionDigests
from rpc_magic.serial.encoding import CodeMode, TakesOver, by_origin
from rpc_magic.serial.facts import (
    Description,
    describe,
    describe_variables,
    head_html,
    is_eager,
    python_tag,
)
from rpc_magic.serial.failures import encode_error
from rpc_magic.serial.plain import decode_plain, encode_plain
from rpc_magic.serial.segments import Buffer
from rpc_magic.serial.standalone import dumps, loads
from rpc_magic.serial.tokens import renew_origin

__all__ = [
    "Buffer",
    "CodeMode",
    "Description",
    "FunctionDigests",
    "TakesOver",
    "by_origin",
    "decode",
    "decode_plain",
    "describe",
    "describe_variables",
    "dumps",
    "encode",
    "encode_error",
    "encode_plain",
    "head_html",
    "is_eager",
    "loads",
    "python_tag",
    "reference",
    "renew_origin",
]
