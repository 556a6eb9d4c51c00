"""The session's IPython shell: what a kernel's shell is, with its outputs sent through `Outputs`.

The class is called ``ZMQInteractiveShell`` and its config holds ``IPKernelApp``, because tqdm, rich, pandas
and others recognise a notebook by these. Errors of the cell that `rpc_magic.worker.cells` runs are not shown
here: they go back with its outcome. All other errors (of nested cells, callbacks, formatters) are shown on
stderr.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextvars import Context, ContextVar
from typing import Any

from IPython.core import page
from IPython.core.error import UsageError
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from IPython.core.profiledir import ProfileDir
from IPython.paths import get_ipython_dir
from traitlets import Type
from traitlets.config import Config

from rpc_magic.wire import messages
from rpc_magic.worker.answering import answering
from rpc_magic.worker.bundles import plain
from rpc_magic.worker.commands import run_command
from rpc_magic.worker.comms import Comms
from rpc_magic.worker.interrupts import InterruptGate
from rpc_magic.worker.output import Outputs
from rpc_magic.worker.shellparts import CellCompiler, Exiter, ZMQDisplayPublisher, ZMQShellDisplayHook
from rpc_magic.worker.standin import SessionKernel, announce
from rpc_magic.worker.stepping import GatedAwaitable
from rpc_magic.worker.tracebacks import hide_own_frames, render_error, text_of

__all__ = ["ZMQInteractiveShell", "make_shell"]

INLINE_BACKEND = "module://matplotlib_inline.backend_inline"
# What a kernel sets, so that child processes colour their output and do not page it.
_ENVIRONMENT = {
    "TERM": "xterm-color",
    "CLICOLOR": "1",
    "FORCE_COLOR": "1",
    "CLICOLOR_FORCE": "1",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "MPLBACKEND": INLINE_BACKEND,
}
_NO_GUI = frozenset({None, "inline", "none", "None", "asyncio", "agg", "headless"})


class ZMQInteractiveShell(InteractiveShell):  # type: ignore[misc]  # IPython is not typed here
    """The shell of a session.

    Attributes:
        outputs: where it shows things.
        gate: guards user code.
        kernel: what packages take for the kernel.
        context: context variables that user code sets are set in it; None has each cell with ``await`` use a copy.
        takes_value: the value of the running cell's last expression is kept in `taken`, with what was shown of it.
        quiet_depth: errors at this depth of nested cells are not shown; 0 shows all.
        advise: has an error say what to do about it.
        readmit: takes in a call that ended in an earlier session, for whoever asks for it.
    """

    displayhook_class = Type(ZMQShellDisplayHook)
    display_pub_class = Type(ZMQDisplayPublisher)
    compiler_class = Type(CellCompiler)
    data_pub_class = None

    outputs: Outputs
    gate: InterruptGate

    def __init__(self, outputs: Outputs, gate: InterruptGate, **options: Any) -> None:
        self.outputs, self.gate = outputs, gate
        self.context: Context | None = None
        self.takes_value = False
        self.taken: tuple[object, messages.ExecuteResult] | None = None
        self.depth = 0
        self.quiet_depth = 0
        self.advise: Callable[[BaseException], None] = lambda _: None
        self.readmit: Callable[[str, Any], None] = lambda *_: None
        self._parent: ContextVar[dict[str, Any]] = ContextVar("rpc_magic_parent")
        self._last_parent: dict[str, Any] = {}
        super().__init__(**options)
        self.last_execution_result = ExecutionResult(None)  # `%xdel` looks at it, in the first cell as well
        self.exiter = Exiter(self)
        for name in ("exit", "quit"):
            self.user_ns[name] = self.user_ns_hidden[name] = self.exiter
        # Code that runs outside cells (called functions, callbacks) looks for get_ipython() too.
        self.builtin_trap.__enter__()

    # ------------------------------------------------------------------ what differs from a terminal

    def init_environment(self) -> None:
        """Set what child processes and matplotlib read."""
        os.environ.update(_ENVIRONMENT)

    def init_virtualenv(self) -> None:
        """Do not mix in the packages of the environment that VIRTUAL_ENV names: they may be another Python's."""

    def init_hooks(self) -> None:
        """Show pages (of ``?``) in the notebook's pager."""
        super().init_hooks()
        self.set_hook("show_in_pager", page.as_hook(self._show_page), 99)

    def _show_page(self, text: Any, *_: object, **__: object) -> None:
        data = text if isinstance(text, dict) else {"text/plain": str(text)}
        self.outputs.publish(messages.Page(plain(data)))

    def enable_gui(self, gui: str | None = None) -> None:
        """Refuse GUI loops: there is no screen."""
        if gui not in _NO_GUI:
            raise UsageError(f"a remote session has no screen for {gui!r}; use %matplotlib inline")

    def set_next_input(self, s: str, replace: bool = False) -> None:
        """Put a text into the notebook's next cell."""
        self.outputs.publish(messages.NextInput(s, bool(replace)))

    def ask_exit(self) -> None:
        """End the cell."""
        raise SystemExit

    def system_live(self, cmd: str) -> None:
        """Run ``!cmd``: output live, exit code in ``_exit_code``."""
        if cmd.rstrip().endswith("&"):
            raise OSError("Background processes are not supported by `!`; use %%bash --bg.")
        code = run_command(self.var_expand(cmd, depth=1))
        self.user_ns["_exit_code"] = code
        if code and getattr(self, "system_raise_on_error", False):
            from subprocess import CalledProcessError

            raise CalledProcessError(code, cmd)

    system = system_live

    @contextlib.contextmanager
    def _tee(self, channel: str) -> Iterator[None]:  # noqa: ARG002 - IPython's signature
        """Keep no copy of what is printed (IPython 9 keeps one in memory)."""
        yield

    def _format_exception_for_storage(
        self, exception: BaseException, *_: object, **__: object
    ) -> dict[str, Any]:
        """Keep no rendered copy of an error (IPython 9 does, and fails on a failing ``__str__``)."""
        return {"ename": type(exception).__name__, "evalue": "", "traceback": []}

    # ------------------------------------------------------------------ the notebook's message

    def get_parent(self) -> dict[str, Any]:
        """Return the notebook message that caused what runs now; empty outside notebooks."""
        return self._parent.get(self._last_parent)

    def set_parent(self, parent: dict[str, Any]) -> None:
        """Set the notebook message that caused what runs from now on; a bare header is taken too."""
        if parent and "header" not in parent:
            parent = {"header": parent}
        self._last_parent = parent
        self._parent.set(parent)

    # ------------------------------------------------------------------ running code

    def keep_results(self, values: Mapping[str, object]) -> None:
        """Take those of `values` that are results of cells, as ``_`` and ``_5``, for the shell's own."""
        for name, value in values.items():
            if name in {"_", "__", "___"}:
                setattr(self.displayhook, name, value)
                self.user_ns_hidden[name] = value
            elif name[:1] == "_" and name[1:].isdecimal():
                self.user_ns["_oh"][int(name[1:])] = self.user_ns_hidden[name] = value

    def take_value(self) -> tuple[object, messages.ExecuteResult] | None:
        """Return the value of the cell that has run, with what was shown of it, and forget it."""
        taken, self.taken = self.taken, None
        return taken

    def continue_at(self, number: int) -> None:
        """Give the next cell a number; ``In`` has empty texts for those between, which ran elsewhere."""
        self.execution_count = number
        history = self.history_manager
        for texts in (history.input_hist_parsed, history.input_hist_raw):
            del texts[number:]
            texts.extend([""] * (number - len(texts)))

    async def run_cell_async(self, *arguments: Any, **options: Any) -> Any:
        """Run a cell, counting how deep cells are nested."""
        self.depth += 1
        takes_value = self.takes_value
        self.takes_value = takes_value and self.depth == self.quiet_depth
        try:
            return await super().run_cell_async(*arguments, **options)
        finally:
            self.takes_value = takes_value
            self.depth -= 1

    async def run_code(self, code_obj: Any, result: Any = None, *, async_: bool = False) -> bool:
        """Execute a code object as user code; the answer is True when it raised.

        Args:
            code_obj: compiled code.
            result: IPython's record of the execution, which gets the error.
            async_: the code is a coroutine's.
        """
        __tracebackhide__ = "__ipython_bottom__"
        saved_hook, sys.excepthook = sys.excepthook, self.excepthook
        try:
            if async_:
                await GatedAwaitable(eval(code_obj, self.user_global_ns, self.user_ns), self.gate)
            else:
                with self.gate.user_code():
                    exec(code_obj, self.user_global_ns, self.user_ns)
        except BaseException as raised:  # noqa: BLE001 - it belongs to the user, whatever it is
            error = answering(raised)
            hide_own_frames(error)
            if result is not None:
                result.error_in_exec = error
            self.remember_error(error)
            if self.custom_exceptions and isinstance(error, self.custom_exceptions):
                self.CustomTB(type(error), error, error.__traceback__)
            else:
                self.showtraceback((type(error), error, error.__traceback__))
            return True
        finally:
            sys.excepthook = saved_hook
        return False

    runcode = run_code

    # ------------------------------------------------------------------ errors

    def remember_error(self, error: BaseException) -> None:
        """Let ``%debug`` and ``%tb`` find an error, with its advice."""
        self.advise(error)
        sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
        sys.last_exc = error  # type: ignore[attr-defined,unused-ignore]  # new in Python 3.12

    def showtraceback(
        self,
        exc_tuple: Any = None,
        filename: str | None = None,
        tb_offset: int | None = None,  # noqa: ARG002 - IPython's signature
        exception_only: bool = False,
        running_compiled_code: bool = False,  # noqa: ARG002 - IPython's signature
    ) -> None:
        """Show an error on stderr, unless it goes back with the cell's outcome."""
        if self._goes_back(sys._getframe(1)):  # noqa: SLF001 - only the caller tells the two cases apart
            return
        try:
            kind, error, _ = self._get_exc_info(exc_tuple)
        except ValueError:
            self.outputs.write("stderr", "No traceback available to show.\n")
            return
        if filename and isinstance(error, SyntaxError):
            error.filename = filename
        hide_own_frames(error)
        try:
            lines = (
                self.InteractiveTB.get_exception_only(kind, error)
                if exception_only
                else render_error(self, error)
            )
        except Exception as failure:  # noqa: BLE001 - the error's own code may fail in any way
            lines = [f"{kind.__name__} (it could not be rendered: {type(failure).__name__})"]
        self._showtraceback(kind, error, lines)
        if self.call_pdb:
            self.debugger(force=True)

    def showsyntaxerror(self, filename: str | None = None, running_compiled_code: bool = False) -> None:  # noqa: ARG002
        """Show a syntax error on stderr, unless it goes back with the cell's outcome."""
        if not self._goes_back(sys._getframe(1)):  # noqa: SLF001 - see showtraceback
            self.showtraceback(filename=filename)

    def showindentationerror(self) -> None:
        """Show an indentation error on stderr, unless it goes back with the cell's outcome."""
        if not self._goes_back(sys._getframe(1)):  # noqa: SLF001 - see showtraceback
            self.showtraceback()

    def _showtraceback(self, etype: Any, evalue: Any, stb: list[str]) -> None:
        # Not by sys.stderr: a cell that captures its output (%%capture) must not hide an error.
        self.outputs.publish(messages.ShownError(etype.__name__, text_of(evalue), tuple(map(str, stb))))

    def _goes_back(self, caller: Any) -> bool:
        """Tell whether the machinery of the cell that `cells` runs is what wants to show an error."""
        machinery = {"run_code", "run_ast_nodes", "run_cell_async"}
        return self.depth == self.quiet_depth and self.depth > 0 and caller.f_code.co_name in machinery


def make_shell(outputs: Outputs, gate: InterruptGate) -> ZMQInteractiveShell:
    """Make the process's shell. Once, on the main thread, after `outputs` and `gate` are installed.

    Args:
        outputs: where it shows things.
        gate: guards user code.
    """
    outputs.gate = gate
    comms = Comms(outputs)
    comms.install()
    config = Config()
    config.IPKernelApp.tqdm = "a session is a kernel to tqdm"
    config.HistoryManager.enabled = False
    config.HistoryManager.hist_file = ":memory:"
    config.InteractiveShell.colors = "neutral"
    config.InteractiveShell.autoindent = False
    config.InteractiveShell.banner1 = ""
    announce(ZMQInteractiveShell, ZMQDisplayPublisher, ZMQShellDisplayHook)
    folder, profile = _ipython_folders()
    shell: ZMQInteractiveShell = ZMQInteractiveShell.instance(
        outputs=outputs, gate=gate, config=config, ipython_dir=folder, profile_dir=profile
    )
    gate.user_globals = shell.user_global_ns
    _route_thread_errors()
    shell.comms = comms
    shell.kernel = SessionKernel(shell, comms.manager)
    shell.extension_manager.load_extension("storemagic")  # as every IPython program does
    return shell


def _route_thread_errors() -> None:
    """Leave our own frames out of what is shown of an exception in a thread."""
    show = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        error = arguments.exc_value
        if error is not None:
            hide_own_frames(error)
            details = (arguments.exc_type, error, error.__traceback__, arguments.thread)
            arguments = threading.ExceptHookArgs(details)
        show(arguments)

    threading.excepthook = hook


def _ipython_folders() -> tuple[str, Any]:
    """Return IPython's folder and profile; temporary ones where the home cannot be written."""
    try:
        folder = get_ipython_dir()
        return folder, ProfileDir.create_profile_dir_by_name(folder, "default")
    except Exception:  # noqa: BLE001 - IPython raises several kinds; a session must start all the same
        folder = tempfile.mkdtemp(prefix="rpc_magic-ipython-")
        return folder, ProfileDir.create_profile_dir_by_name(folder, "default")
