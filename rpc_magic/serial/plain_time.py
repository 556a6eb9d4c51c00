"""Dates and times as plain data."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from typing import Any

from rpc_magic.errors import ProtocolError, TransferError

__all__ = ["TYPES", "pack", "unpack"]

TYPES = frozenset({dt.datetime, dt.date, dt.time, dt.timedelta, dt.timezone, zoneinfo.ZoneInfo})
"""What `pack` takes; exact types."""

_KEY = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
"""What the name of a time zone looks like: `zoneinfo` makes names of files and packages of it."""

_DATETIME, _DATE, _TIME, _DELTA, _OFFSET, _ZONE = range(6)


def _delta(value: dt.timedelta) -> list[Any]:
    return [_DELTA, value.days, value.seconds, value.microseconds]


def _zone(zone: dt.tzinfo | None, path: str) -> list[Any] | None:
    if zone is None:
        return None
    if type(zone) is dt.timezone:
        offset = zone.utcoffset(None)
        is_named = zone is not dt.UTC and repr(zone) != repr(dt.timezone(offset))
        return [_OFFSET, _delta(offset)[1:], zone.tzname(None) if is_named else None]
    if type(zone) is zoneinfo.ZoneInfo and zone.key is not None:
        return [_ZONE, zone.key]
    raise TransferError(
        f"{path}.tzinfo", type(zone).__qualname__, "only fixed offsets and named zones travel here"
    )


def pack(thing: Any, path: str) -> list[Any]:
    """Turn a date or time into a list of numbers.

    Args:
        thing: of one of `TYPES`.
        path: where it is, for the error.

    Raises:
        TransferError: its time zone is of a class of its own.
    """
    kind = type(thing)
    if kind is dt.datetime:
        clock = [thing.hour, thing.minute, thing.second, thing.microsecond, thing.fold]
        return [_DATETIME, thing.year, thing.month, thing.day, *clock, _zone(thing.tzinfo, path)]
    if kind is dt.date:
        return [_DATE, thing.year, thing.month, thing.day]
    if kind is dt.time:
        clock = [thing.hour, thing.minute, thing.second, thing.microsecond, thing.fold]
        return [_TIME, *clock, _zone(thing.tzinfo, path)]
    if kind is dt.timedelta:
        return _delta(thing)
    zone = _zone(thing, path)
    return zone if zone is not None else []


def _unpack_zone(body: Any) -> dt.tzinfo | None:
    if body is None:
        return None
    zone = unpack(body)
    if not isinstance(zone, dt.tzinfo):
        raise ProtocolError("plain data hold a time zone that is none")
    return zone


def unpack(body: list[Any]) -> Any:
    """Make a date or time from what `pack` returned.

    Raises:
        ProtocolError: it is malformed.
        Exception: what the constructor says of values out of range.
    """
    tag = body[0]
    values: Any = body[1:]
    if tag == _DATETIME:
        *numbers, fold, zone = values
        make: Any = dt.datetime
        return make(*numbers, fold=fold, tzinfo=_unpack_zone(zone))
    if tag == _DATE:
        return dt.date(*values)
    if tag == _TIME:
        *numbers, fold, zone = values
        make = dt.time
        return make(*numbers, fold=fold, tzinfo=_unpack_zone(zone))
    if tag == _DELTA:
        return dt.timedelta(*values)
    if tag == _OFFSET:
        offset, name = values
        delta = dt.timedelta(*offset)
        return dt.timezone(delta) if name is None else dt.timezone(delta, name)
    if tag == _ZONE:
        (key,) = values
        if not _KEY.fullmatch(key):
            raise ProtocolError("plain data name a time zone that can be none")
        return zoneinfo.ZoneInfo(key)
    raise ProtocolError(f"plain data hold an unknown kind of time {tag!r}")
