"""Parts of the session's shell: the compiler of cells, the display publisher, the displayhook, and ``exit``."""

from __future__ import annotations

from typing import Any

from IPython.core.autocall import ExitAutocall
from IPython.core.compilerop import CachingCompiler
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher

from rpc_magic.wire import messages
from rpc_magic.worker.bundles import plain
from rpc_magic.worker.cellnames import cell_file
from rpc_magic.worker.tracebacks import CELL_LABEL, CELL_NUMBERS

__all__ = ["CellCompiler", "Exiter", "ZMQDisplayPublisher", "ZMQShellDisplayHook"]


class CellCompiler(CachingCompiler):  # type: ignore[misc]  # IPython is not typed here
    """Compiles a cell so that its line 1 is the line the user's editor calls line 1.

    Attributes:
        shifted: the text of the cell to be shifted, and by how many lines; other texts (of nested cells) are
        not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shifted: tuple[str, int] | None = None
        self._shifted_name = ""
        self._filename_map = CELL_NUMBERS

    def get_code_name(self, raw_code: str, transformed_code: str, number: int) -> str:  # noqa: ARG002 - IPython's signature
        """Return the name of a cell's file, as a kernel names it."""
        return cell_file(
            raw_code.removesuffix("\n")
        )  # with which a magic's text ends, and a plain cell's does not

    def cache(self, transformed_code: str, number: int = 0, raw_code: str | None = None) -> str:
        """Register a cell's source lines under a name, for tracebacks."""
        if self.shifted is None or self.shifted[0] is not transformed_code:
            return str(super().cache(transformed_code, number, raw_code))
        lines = "\n" * self.shifted[1]
        name = str(super().cache(lines + transformed_code, number, raw_code or transformed_code))
        self._shifted_name = name
        return name

    def ast_parse(self, source: str, filename: str = "<unknown>", symbol: str = "exec") -> Any:
        """Parse a cell's source."""
        if self.shifted is not None and filename == self._shifted_name:
            source = "\n" * self.shifted[1] + source
        return super().ast_parse(source, filename, symbol)

    def format_code_name(self, name: str) -> tuple[str, str] | None:
        """Return how tracebacks call a cell; the count is the session's own."""
        if name in self._filename_map:
            return CELL_LABEL, f"In[{self._filename_map[name]}]"
        return None


class ZMQDisplayPublisher(DisplayPublisher):  # type: ignore[misc]  # IPython is not typed here
    """``display()`` and ``clear_output()`` as messages."""

    def publish(
        self,
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        *_: object,
        transient: dict[str, Any] | None = None,
        update: bool = False,
        **__: object,
    ) -> None:
        """Show a MIME bundle.

        Args:
            data: the bundle.
            metadata: its metadata.
            transient: what is not saved, as the display's id.
            update: replace an earlier display of that id.
        """
        self._validate_data(data, metadata)
        self.shell.outputs.publish(
            messages.Display(
                data=plain(data),
                metadata=plain(metadata or {}),
                transient=plain(transient or {}),
                update=update,
            )
        )

    def clear_output(self, wait: bool = False) -> None:
        """Clear what the call has shown; `wait` for the next output before doing so."""
        self.shell.outputs.publish(messages.ClearOutput(wait=bool(wait)))


class ZMQShellDisplayHook(DisplayHook):  # type: ignore[misc]  # IPython is not typed here
    """Shows the value of a cell's last expression, and takes it for the cell's outcome unless the cell is nested."""

    def __call__(self, result: object = None) -> None:
        """Set ``_``, ``Out`` and their relatives as IPython does, and show the value."""
        self.check_for_underscore()
        if result is None or self.quiet():
            return
        data, metadata = self.compute_format_data(result)
        self.update_user_ns(result)
        self.fill_exec_result(result)
        is_value = self.shell.takes_value
        shown = messages.ExecuteResult(plain(data), plain(metadata or {}), self.prompt_count, is_value)
        if is_value:
            self.shell.taken = (result, shown)
        if is_value:
            with self.shell.gate.masked():
                self.shell.outputs.sync()
        if is_value or data:
            self.shell.outputs.publish(shown)


class Exiter(ExitAutocall):  # type: ignore[misc]  # IPython is not typed here
    """``exit`` and ``quit``: they end the cell, and the session lives on."""

    def __call__(self, *code: object, **_: object) -> None:
        """End the cell with an exit code."""
        raise SystemExit(*code)
