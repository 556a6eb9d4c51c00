"""Text to syntax tree, also where it still holds IPython's own syntax (the bodies of cell magics)."""

from __future__ import annotations

import ast
import re
import warnings

_FLAGS = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

_CELL_MAGIC = re.compile(r"\s*%%([^\W\d][\w.]*)[ \t]*(.*)\n?", re.ASCII)
_SHELL_LINE = re.compile(r"(?P<head>\s*(?:[\w.,\[\]()'\" *]+=\s*)?)(?P<escape>%|!!?)(?P<rest>[^=\s].*)")
_HELP_LINE = re.compile(r"(?P<head>\s*)(?:\?{1,2}\s*%{0,2}[\w.*]+|%{0,2}[\w.*]+(?:\[\w+\])?\?{1,2})\s*;?\s*")
_MAGIC = re.compile(r"([^\W\d][\w.]*)[ \t]*(.*)")


def parse(source: str, filename: str = "<cell>") -> ast.Module:
    """Parse transformed text; ``await`` may stand at its top level.

    Raises:
        SyntaxError: the text is no Python.
    """
    if "\\" not in source:
        return _compile(source, filename, "exec")
    # An invalid escape sequence warns when the cell itself is compiled; once is enough. Only then are the
    # filters touched: that makes warnings already shown "once per place" appear again.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _compile(source, filename, "exec")


def _compile(source: str, filename: str, mode: str) -> ast.Module:
    tree = compile(source, filename, mode, _FLAGS, dont_inherit=True)
    assert isinstance(tree, ast.Module)
    return tree


def parse_expression(text: str) -> ast.Expression | None:
    """Parse one expression; None if it is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def parse_cell(text: str) -> ast.Module | None:
    """Parse text that may hold IPython's syntax line by line; None if it is no code.

    Known are ``%magic``, ``!command``, ``x = %magic``, ``x = !command``, ``%%magic`` at the top, and help
    with ``?``. This layer knows no IPython, so the transformations of its input are repeated here in small.
    """
    for candidate in (text, None):
        try:
            return parse(candidate if candidate is not None else without_shell_syntax(text))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    return None


def without_shell_syntax(text: str) -> str:
    """Return `text` with IPython's syntax turned into calls of ``get_ipython()``."""
    top = _CELL_MAGIC.match(text)
    if top is not None:
        name, line = top.groups()
        return f"get_ipython().run_cell_magic({name!r}, {line!r}, {text[top.end() :]!r})"
    if re.search(r"^\s*[%!].*\\$", text, re.MULTILINE):  # a shell line goes on after a backslash
        text = text.replace("\\\n", "")
    return "\n".join(map(_plain_line, text.split("\n")))


def _plain_line(line: str) -> str:
    match = _SHELL_LINE.fullmatch(line)
    if match is None:
        help_line = _HELP_LINE.fullmatch(line)
        return line if help_line is None else help_line["head"] + "pass"
    head, escape, rest = match["head"], match["escape"], match["rest"]
    if escape == "%":
        magic = _MAGIC.fullmatch(rest.rstrip())
        if magic is None:
            return line
        return f"{head}get_ipython().run_line_magic({magic[1]!r}, {magic[2]!r})"
    method = "getoutput" if escape == "!!" or head.strip() else "system"
    return f"{head}get_ipython().{method}({rest!r})"
