"""Names in text that is given to functions of libraries which look variables up, as ``df.query("a > @limit")``.

Too many names are found rather than too few: those that the notebook has not are dropped later, and one too many is at
worst sent for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from keyword import iskeyword

__all__ = ["TEXT_READERS", "names_for", "words_in"]

_WORD = re.compile(r"[^\W\d]\w*")
_MARKED = re.compile(r"@([^\W\d]\w*)|\b(?:from|join)\s+([^\W\d]\w*)", re.IGNORECASE)

_MARKING = frozenset({"query", "eval", "sql", "execute"})
"""Methods of tables and databases whose text has columns as well as variables (pandas, polars, duckdb)."""

_RUNNING = frozenset({"timeit", "repeat", "Timer", "runctx", "evaluate"})
"""Functions that run text as it is (timeit, cProfile, numexpr)."""

_RUNNING_OF = {"run": frozenset({"cProfile", "profile", "pdb"}), "eval": frozenset({"pd", "pandas"})}
"""Functions of some modules that do the same, where those of others take other text."""

TEXT_READERS = frozenset({"exec", "globals", *_MARKING, *_RUNNING, *_RUNNING_OF})
"""Functions and methods by which a function's text may reach variables."""


def words_in(text: str) -> list[str]:
    """Return every word of a text that could be a name."""
    return [word for word in _WORD.findall(text) if not iskeyword(word)]


def names_for(function: str, owner: str) -> Callable[[str], Collection[str]] | None:
    """Return what finds the names in a text that a function is called with; None when it reads none.

    Args:
        function: its name.
        owner: the name that stands before the dot; empty where there is none.
    """
    if function in _RUNNING or owner in _RUNNING_OF.get(function, ()):
        return words_in
    return _marked_in if function in _MARKING else None


def _marked_in(text: str) -> set[str]:
    """Return the names after ``@``, and those of tables in SQL."""
    return {one or other for one, other in _MARKED.findall(text)}
