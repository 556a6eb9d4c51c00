"""What a magic does with the names of the notebook, from its name and text.

The table holds magics that IPython and widely used extensions bring. An unknown magic may hand its text to
Python: if the text, after its options, is Python, its names count as read and bound.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rpc_magic.namespace.expansion import expressions_in
from rpc_magic.namespace.parsing import parse_cell

# Options of magics that run code: those that take a value.
_OPTIONS_WITH_VALUE: dict[str, frozenset[str]] = {
    "time": frozenset(),
    "timeit": frozenset("nrpt") - {"t"},
    "prun": frozenset("lsTD"),
    "memit": frozenset("rti"),
    "mprun": frozenset("fT"),
    "lprun": frozenset("fmTDu"),
    "rpc_call": frozenset({"s", "i", "o", "timeout", "session", "name"}),
    "capture": frozenset(),
    "debug": frozenset("b") | {"breakpoint"},
}

# An option whose value is itself an expression of the notebook.
_OPTIONS_WITH_EXPRESSION: dict[str, frozenset[str]] = {"mprun": frozenset("f"), "lprun": frozenset("f")}

_TEXT_ONLY = frozenset({
    "!", "HTML", "SVG", "alias", "autoawait", "automagic", "autosave", "bash", "bookmark", "cat", "cd",
    "clear", "cls", "cmd", "colors", "conda", "config", "cp", "dhist", "dirs", "doctest_mode", "env", "file",
    "gui", "hist", "history", "html", "javascript", "js", "latex", "ldir", "less", "lf", "lk", "ll",
    "load_ext", "logstart", "ls", "lsmagic", "lx", "magic", "mamba", "man", "markdown", "matplotlib",
    "micromamba", "mkdir", "more", "mv", "notebook", "pdb", "perl", "pip", "popd", "pprint", "precision",
    "pushd", "pwd", "pypy", "python", "python2", "python3", "quickref", "reload_ext", "rm", "rmdir", "ruby",
    "script", "set_env", "sh", "sql", "subshell", "svg", "sx", "system", "tb", "unalias", "unload_ext", "uv",
    "writefile", "xmode",
})  # fmt: skip

# Help is answered from where the object is; it is no mention (design, section 4).
_HELP = frozenset({"pinfo", "pinfo2", "pdoc", "pdef", "psource", "pfile", "psearch"})

# These list all names; that is no mention of them either.
_LISTS = frozenset({"who", "who_ls", "whos"})

# These read or bind names that their text does not show.
_DYNAMIC = frozenset({"edit", "load", "loadpy", "macro", "pylab", "recall", "rep", "rerun", "reset",
                      "reset_selective", "run", "store", "code_wrap", "cython"})  # fmt: skip

_SCRIPT_NAMES = re.compile(r"--(?:out|err|proc)[= ]\s*([^\W\d]\w*)")
_R_NAMES = re.compile(r"(?:^|\s)(?:-(?P<short>[io])|--(?P<long>input|output))[= ]?\s*(?P<names>[\w,]+)")
_NAMES = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True)
class MagicUse:
    """What one use of a magic does with names.

    Attributes:
        expressions: text of expressions that are evaluated.
        code: texts that are run in the notebook's namespace, in this order.
        own_block: `code` runs as the body of a function: what it binds stays there.
        runs_once: `code` runs exactly once, and its errors are raised.
        reads: names read besides.
        binds: names bound besides.
        deletes: names deleted.
        is_dynamic: other names may be read or bound.
        asks: names of which help is asked.
        asks_all: all names are listed.
    """

    expressions: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    own_block: bool = False
    runs_once: bool = False
    reads: tuple[str, ...] = ()
    binds: tuple[str, ...] = ()
    deletes: tuple[str, ...] = ()
    is_dynamic: bool = False
    asks: tuple[str, ...] = ()
    asks_all: bool = False


def magic_use(name: str, line: str, body: str | None = None) -> MagicUse:
    """Return what the magic `name` does with names.

    Args:
        name: its name, without percent signs.
        line: the rest of its line.
        body: the lines below it, for a cell magic; None for a line magic.
    """
    if name in _LISTS:
        return MagicUse(asks_all=True)
    if name in _HELP:
        return MagicUse(asks=tuple(_NAMES.findall(line)[:1]))
    expansions = (*expressions_in(line), *expressions_in(body or ""))
    special = _special(name, line)
    if special is not None:
        return _with_expressions(special, expansions)
    if name in _TEXT_ONLY:
        return MagicUse(expansions, binds=tuple(_SCRIPT_NAMES.findall(line)))
    if name == "timeit":
        setup = after_options(name, line)[1] or ""
        return MagicUse(expansions, (setup,) if body is None else (setup, body), own_block=True)
    if name in _OPTIONS_WITH_VALUE:
        values, code = after_options(name, line)
        once = name == "time" and "no-raise-error" not in values
        if name == "capture":
            return MagicUse(expansions, (body or "",), binds=tuple(_NAMES.findall(code or "")[:1]))
        text = code if body is None else body
        wanted = _OPTIONS_WITH_EXPRESSION.get(name, frozenset())
        named = tuple(text for option, text in values.items() if option in wanted)
        return MagicUse((*expansions, *named), (text or "",), runs_once=once)
    return _unknown(name, line, body, expansions)


def _special(name: str, line: str) -> MagicUse | None:
    """Return the use of a magic that has its own rules for its line; None for any other."""
    names = tuple(_NAMES.findall(line))
    if name in _DYNAMIC:
        return MagicUse(
            reads=names if name == "store" else (), binds=names if name == "store" else (), is_dynamic=True
        )
    if name == "xdel":
        return MagicUse(reads=names[-1:], deletes=names[-1:])
    if name == "aimport":
        return MagicUse(binds=names)
    if name == "page":
        return MagicUse(expressions=(after_options(name, line)[1] or "",))
    if name == "R":
        reads: list[str] = []
        binds: list[str] = []
        for option in _R_NAMES.finditer(line):
            is_input = str(option["short"] or option["long"]).startswith("i")
            (reads if is_input else binds).extend(_NAMES.findall(option["names"]))
        return MagicUse(reads=tuple(reads), binds=tuple(binds))
    return None


def _with_expressions(use: MagicUse, expansions: tuple[str, ...]) -> MagicUse:
    return MagicUse(
        (*use.expressions, *expansions),
        reads=use.reads,
        binds=use.binds,
        deletes=use.deletes,
        is_dynamic=use.is_dynamic,
    )


def _unknown(name: str, line: str, body: str | None, expansions: tuple[str, ...]) -> MagicUse:
    text = after_options(name, line)[1]
    if body is None:
        return MagicUse(expansions, (text,) if text else ())
    # The line of a cell magic holds arguments: a name among them may be looked up, none is bound there.
    return MagicUse((*expansions, text) if text else expansions, (body,))


def after_options(name: str, line: str) -> tuple[dict[str, str], str | None]:
    """Split the options off the front of a magic's line.

    Args:
        name: the magic's name.
        line: its line.

    Returns:
        Options to values (empty text for none), and what follows them; None if nothing that follows is
        Python.
    """
    options: dict[str, str] = {}
    known = _OPTIONS_WITH_VALUE.get(name)
    rest = line.strip()
    while rest.startswith("-") and (
        option := re.match(r"--?([A-Za-z][\w-]*)(=\S*)?(?=\s|$)|--(?=\s|$)", rest)
    ):
        rest = rest[option.end() :].lstrip()
        key = option[1]
        if key is None:
            break
        value = (option[2] or "")[1:]
        if known is not None and not option[0].startswith("--") and len(key) > 1 and key[0] in known:
            key, value = key[0], key[1:]
        elif known is not None and key in known and not option[2]:
            value, rest = _take_value(rest)
        options[key] = value
        if known is None and rest and not rest.startswith("-") and parse_cell(rest) is None:
            value, rest = _take_value(rest)
    return options, rest if rest and (known is not None or parse_cell(rest) is not None) else None


def _take_value(rest: str) -> tuple[str, str]:
    """Take one value off the front; a list goes on after a comma and spaces, and quotes keep spaces."""
    match = re.match(r"""(?:'[^']*'|"[^"]*"|[^\s,]+(?:\s*,\s*[^\s,]+)*)\s*""", rest)
    return (match[0].strip(), rest[match.end() :]) if match else ("", rest)
