"""A widget, and its state as text, which stands where the widget cannot be shown.

In JupyterLab ipywidgets' renderer comes first: of an output that has a widget and a text it shows the widget, and where
the kernel of that has gone, "Loading widget..." or an error. So the text is an output of its own, above the widget's.
A rule that comes with it hides the one of the two that is not wanted. Where HTML is shown without its rules, as on
GitHub and in a notebook that is not trusted, the text stands, and the widget's output shows nothing.
"""

from __future__ import annotations

from typing import Any

from IPython.display import display

from rpc_magic.notebook.live import kernel_here

__all__ = ["VIEW", "Lasting"]

VIEW = "application/vnd.jupyter.widget-view+json"
"""The type of an output that is a widget."""

_MARK = "rpc-magic-last"
_CHILD, _WIDGET = ".jp-OutputArea-child", ".lm-Panel.jp-OutputArea-output"
_TEXT = f"{_CHILD}:has(> .jp-OutputArea-output > .{_MARK})"
_STYLE = f"""<style>
{_TEXT}:has(+ {_CHILD} > {_WIDGET} .jupyter-widgets),
{_TEXT} + {_CHILD} > {_WIDGET}:not(:has(.jupyter-widgets)) {{ display: none; }}
</style>"""
"""Hides the text above a widget that is there, and what stands in the place of one that is not."""


class Lasting:
    """Shows a widget with its text, as often as it is wanted, and keeps the texts true."""

    def __init__(self) -> None:
        self._kernel = kernel_here()
        self._shown: list[tuple[str, Any]] = []

    def show(self, widget: Any, plain: str, line: str) -> None:
        """Show a widget and its text under the cell that runs; on the main thread.

        Args:
            widget: of ipywidgets.
            plain: its state as text.
            line: its state as HTML.
        """
        handle = display(_text(plain, line), raw=True, display_id=True)
        bundle = widget._repr_mimebundle_()
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        display({"text/plain": "", VIEW: data[VIEW]}, raw=True)
        if handle is not None and self._kernel is not None:
            self._shown.append((handle.display_id, self._kernel.get_parent()))

    def renew(self, plain: str, line: str) -> None:
        """Have the notebook hold another state as text, for when it is saved; on any thread."""
        for display_id, parent in self._shown:
            content = {"data": _text(plain, line), "metadata": {}, "transient": {"display_id": display_id}}
            self._kernel.session.send(
                self._kernel.iopub_socket,
                "update_display_data",
                content,
                parent=parent,
                ident=b"display_data",
            )


def _text(plain: str, line: str) -> dict[str, str]:
    return {"text/plain": plain, "text/html": f'<div class="{_MARK}">{line}</div>{_STYLE}'}
