"""Python expressions inside the lines of magics and shell commands: ``!ls {folder} $HOME``.

The rules are those of IPython's `DollarFormatter`: ``{expression}`` as in `str.format`, ``{{`` and ``}}`` for
braces, ``$name`` and ``$name.attribute``, ``$$`` for a dollar sign; a line with unbalanced braces is left as
it is. IPython expands no ``$name`` inside single quotes; that is not looked at here, so such a name counts
as read.
"""

from __future__ import annotations

import re
import string

_DOLLAR = re.compile(r"\$(\$?)([^\W\d][\w.]*)")
_FORMATTER = string.Formatter()


def expressions_in(text: str) -> list[str]:
    """Return the expressions that IPython would put values for, as text; some may be no valid expressions."""
    if "{" not in text and "$" not in text:
        return []
    found: list[str] = []
    try:
        for literal, field, spec, _conversion in _FORMATTER.parse(text):
            found += [match[2].rstrip(".") for match in _DOLLAR.finditer(literal) if not match[1]]
            if field:
                # What looks like a format is part of a slice: {x[1:2]}.
                found.append(f"{field}:{spec}" if spec else field)
    except ValueError:
        return []
    return found
