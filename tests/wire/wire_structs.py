"""Instances of the message structs, built from their annotations."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st

from rpc_magic.errors import ProtocolError

__all__ = ["check_hostile_bytes", "members", "on_the_page", "sample", "some", "tags"]


def members(union: Any) -> tuple[type[msgspec.Struct], ...]:
    """Return the structs of a union."""
    return typing.get_args(union)


def tags(*unions: Any) -> list[tuple[int, str]]:
    """Return tag and name of every struct of the unions, in order of the tags."""
    structs = {struct for union in unions for struct in members(union)}
    return sorted((struct.__struct_config__.tag, struct.__name__) for struct in structs)


def on_the_page(section: int) -> list[tuple[int, str]]:
    """Return tag and name of every message in the table of a section of the protocol page."""
    page = Path(__file__).parents[2] / "docs" / "protocol.md"
    text = page.read_text(encoding="utf-8").split(f"\n## {section}. ")[1].split("\n## ")[0]
    return [(int(tag), name) for tag, name in re.findall(r"^\| (\d+) \| (\w+) \|", text, re.MULTILINE)]


def sample(struct: type[msgspec.Struct], *, full: bool = True) -> msgspec.Struct:
    """Return an instance with a telling value in every field, or, unless `full`, in those without default."""
    kwargs = {
        field.encode_name: _value(field.type, field.name)
        for field in msgspec.structs.fields(struct)
        if full or field.required
    }
    return struct(**kwargs)


def _value(kind: Any, name: str) -> Any:
    plain: dict[Any, Any] = {
        int: -(1 << 40),
        float: 0.1,
        str: f"{name} \0 é 𝄞",
        bytes: name.encode() + bytes(range(256)),
        bool: True,
        Any: [None, {"a": [1.5, b"\0", "ü"]}, (1 << 64) - 1],
        types.NoneType: None,
    }
    if kind in plain:
        return plain[kind]
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _value(args[0], name)
    if origin is tuple:
        if args[-1] is Ellipsis:
            return tuple(_value(args[0], f"{name} {n}") for n in range(3))
        return tuple(_value(arg, name) for arg in args)
    if origin is dict:
        return {_value(args[0], f"{name} {n}"): _value(args[1], name) for n in range(3)}
    return sample(kind)


def some(union: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for any message of the union, whatever is in its fields."""
    return st.one_of([st.builds(struct, **_fields(struct)) for struct in members(union)])


_LEAF = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text() | st.binary()
_ANYTHING = st.recursive(
    _LEAF | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def _fields(struct: type[msgspec.Struct]) -> dict[str, st.SearchStrategy[Any]]:
    return {field.name: _strategy(field.type) for field in msgspec.structs.fields(struct)}


def _strategy(kind: Any) -> st.SearchStrategy[Any]:
    plain: dict[Any, st.SearchStrategy[Any]] = {
        int: st.integers(-(1 << 63), (1 << 64) - 1),
        float: st.floats(allow_nan=False),
        str: st.text(),
        bytes: st.binary(),
        bool: st.booleans(),
        Any: _ANYTHING,
        types.NoneType: st.none(),
    }
    if kind in plain:
        return plain[kind]
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return st.one_of([_strategy(arg) for arg in args])
    if origin is tuple:
        if args[-1] is Ellipsis:
            return st.lists(_strategy(args[0]), max_size=3).map(tuple)
        return st.tuples(*map(_strategy, args))
    if origin is dict:
        return st.dictionaries(_strategy(args[0]), _strategy(args[1]), max_size=3)
    return st.builds(kind, **_fields(kind))


def check_hostile_bytes(decode: Callable[[bytes], Any], open_field: bytes | None = None) -> None:
    """Check that bytes made to hurt a decoder are refused by `ProtocolError`.

    `open_field` is the beginning of a message, up to a place where any value is taken.
    """
    hostile = [
        b"",
        b"\x90",
        b"\xc0",
        b"\x91\xcc\xff",  # a tag that no message has
        b"\x91\xa1a",
        b"\x81\x01\x02",
        b"\xdd\xff\xff\xff\xff",  # an array of 2^32 - 1 items
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x06system\x94\x93\x94.",  # a pickle
    ]
    if open_field is not None:
        values = [
            b"\x91" * 100_000,  # deeper than any stack
            b"\x81\xa1a" * 100_000,
            b"\xdd\xff\xff\xff\xff",
            b"\xdf\xff\xff\xff\xff",
            b"\xc6\xff\xff\xff\xff",
            b"\xa2\xff\xfe",  # no UTF-8
            b"\x81\x90\x01",  # a key that cannot be hashed
            b"\x81\x80\x01",
            b"\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff",  # no time that there is
            b"\xc1",
        ]
        hostile += [open_field + value for value in values]
    for data in hostile:
        with pytest.raises(ProtocolError):
            decode(data)
