"""Shows the value of a remote cell as the session has rendered it, where it comes among what else the cell shows.

The session's own formatters and options (of pandas, numpy, matplotlib …) have made the bundle. In a kernel it is sent
at once, as the notebook's own result, so that a figure that is shown at the cell's end stands below it, as after a
plain cell. The value itself comes later, with the cell's outcome; IPython's display hook then binds ``_`` and ``Out``
to it and shows it no second time. Where there is no kernel the bundle waits for the value.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from rpc_magic.wire.messages import ExecuteResult

__all__ = ["ResultHook"]

_Bundle = tuple[dict[str, Any], dict[str, Any]]


class ResultHook:
    """Stands between IPython's display hook and its formatters.

    Args:
        shell: IPython's shell; its display hook is changed until `remove`.
    """

    def __init__(self, shell: Any) -> None:
        self._shell, self._hook = shell, shell.displayhook
        self._original: Callable[[Any], _Bundle] = self._hook.compute_format_data
        self._hook.compute_format_data = self._format
        self._bundle: _Bundle | None = None
        self._value: Any = None

    def remove(self) -> None:
        """Put things back as they were; nothing happens when somebody else has changed it since."""
        if self._hook.__dict__.get("compute_format_data") == self._format:
            del self._hook.compute_format_data

    def begin(self) -> None:
        """A remote cell starts: nothing is known of its value."""
        self._bundle = self._value = None

    def show(self, shown: ExecuteResult) -> None:
        """Show what came of a value; a value that is captured or silenced here is shown as these want it."""
        bundle = (shown.data, shown.metadata)
        is_plain = sys.displayhook is self._hook and getattr(self._hook, "session", None) is not None
        if not is_plain:
            if shown.is_value:
                self._bundle = bundle
            else:
                self._shell.display_pub.publish(data=shown.data, metadata=shown.metadata)
            return
        if shown.is_value:
            self._bundle = ({}, {})
        if shown.data and not self._hook.quiet():
            self._hook.start_displayhook()
            self._hook.write_output_prompt()
            self._hook.write_format_data(*bundle)
            self._hook.finish_displayhook()

    def expect(self, value: Any) -> Any:
        """Say which value the bundle that came belongs to; return it."""
        self._value = value
        return value

    def _format(self, result: Any) -> _Bundle:
        bundle, self._bundle = self._bundle, None
        if bundle is not None and result is self._value:
            self._value = None
            return bundle
        return self._original(result)
