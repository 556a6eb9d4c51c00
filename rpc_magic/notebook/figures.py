"""Figures of matplotlib that come from elsewhere.

A kernel learns to show a figure as a picture when it first draws one. A figure that was drawn elsewhere and fetched
would be shown as a line of text until then.
"""

from __future__ import annotations

import sys
from typing import Any

from IPython.core.pylabtools import select_figure_formats

__all__ = ["show_as_pictures"]


def show_as_pictures(shell: Any) -> None:
    """Have figures shown as pictures in a kernel that has drawn none; a choice that was made stays."""
    loaded = sys.modules.get("matplotlib.figure")
    if loaded is None or not hasattr(shell, "kernel"):
        return
    formatters = shell.display_formatter.formatters.values()
    if not any(loaded.Figure in formatter for formatter in formatters):
        select_figure_formats(shell, {"png"}, bbox_inches="tight")
