"""The magics in a real kernel, as a front end, nbclient and papermill see them; also terminal IPython."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from nbformat import write
from nbformat.v4 import new_code_cell, new_notebook

TIMEOUT = 60 * float(os.environ.get("RPC_MAGIC_TEST_TIME_FACTOR", "1"))  # seconds


class Kernel:
    """A running kernel and a front end's view of it: all outputs, by the cell that they belong to.

    Attributes:
        outputs: contents of the messages by the id of the request they belong to.
    """

    def __init__(self) -> None:
        from jupyter_client.manager import start_new_kernel

        self.manager, self.client = start_new_kernel(kernel_name="python3", startup_timeout=TIMEOUT)
        self.outputs: dict[str, list[dict[str, Any]]] = {}

    def start(self, code: str) -> str:
        """Send a cell; return its id. One that fails does not have the kernel drop the next, as it would for a page."""
        return str(self.client.execute(code, store_history=True, stop_on_error=False))

    def wait(self, cell: str) -> list[dict[str, Any]]:
        """Wait until a cell has ended; return its outputs."""
        while True:
            message = self.client.get_iopub_msg(timeout=TIMEOUT)
            self._take(message)
            content = message["content"]
            if message["parent_header"].get("msg_id") == cell and content.get("execution_state") == "idle":
                return self.outputs.get(cell, [])

    def run(self, code: str) -> list[dict[str, Any]]:
        """Run a cell; return its outputs."""
        return self.wait(self.start(code))

    def answer(self, code: str, *answers: str) -> tuple[list[str], list[dict[str, Any]]]:
        """Run a cell, answering what it asks; return the prompts and its outputs."""
        cell = str(self.client.execute(code, store_history=True, allow_stdin=True, stop_on_error=False))
        prompts = []
        for answer in answers:
            prompts.append(self.client.get_stdin_msg(timeout=TIMEOUT)["content"]["prompt"])
            self.client.input(answer)
        return prompts, self.wait(cell)

    def wait_for(self, cell: str | None, text: str) -> None:
        """Wait until a cell, or any cell, has shown a text."""
        deadline = time.monotonic() + TIMEOUT
        while text not in str(self.outputs if cell is None else self.outputs.get(cell, [])):
            assert time.monotonic() < deadline, (
                f"{text} was not shown under its cell: {self.outputs.get(cell)}"
            )
            try:
                self._take(self.client.get_iopub_msg(timeout=0.5))
            except queue.Empty:
                continue

    def _take(self, message: dict[str, Any]) -> None:
        cell = message["parent_header"].get("msg_id", "")
        if message["msg_type"] not in {"status", "execute_input"}:
            self.outputs.setdefault(cell, []).append({"type": message["msg_type"], **message["content"]})

    def close(self) -> None:
        """End the kernel."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=False)


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    """One kernel for the tests of this file."""
    kernel = Kernel()
    yield kernel
    kernel.close()


@pytest.fixture
def connected(kernel: Kernel) -> Kernel:
    """A kernel that has just connected."""
    kernel.run("%unload_ext rpc_magic\n%reset -f")
    outputs = kernel.run("%load_ext rpc_magic\n%rpc_connect --no-widget")
    assert "local: connected" in str(outputs)
    return kernel


def text(outputs: list[dict[str, Any]]) -> str:
    """Return what was printed."""
    return "".join(one["text"] for one in outputs if one["type"] == "stream")


def test_the_widget_has_a_text_that_a_saved_notebook_shows(connected: Kernel) -> None:
    """The text and the HTML of the state come first, then the widget, which has no text of its own."""
    outputs = connected.run("%rpc_connect --name gpu")
    text, widget = [one["data"] for one in outputs if one["type"] == "display_data"]
    assert text["text/plain"].startswith("gpu: connected, unix://")
    assert "gpu: connected" in text["text/html"]
    assert set(text) == {"text/plain", "text/html"}
    assert set(widget) == {"text/plain", "application/vnd.jupyter.widget-view+json"}
    assert widget["text/plain"] == ""


def test_the_widget_follows_the_session(connected: Kernel, tmp_path: Path) -> None:
    """It is told from another thread; its messages belong to the cell that made it, whatever runs."""
    go = tmp_path / "go"
    cell = connected.start(f"go = {str(go)!r}\n%rpc_connect --name seen")
    connected.wait(cell)
    connected.run("%%seen --noblock\nimport os, time\nwhile not os.path.exists(go): time.sleep(0.01)")
    connected.wait_for(cell, "<b>busy</b> · seen")
    go.touch()
    connected.run("%rpc_result")


def test_nobody_watches(connected: Kernel) -> None:
    """With RPC_MAGIC_NONINTERACTIVE set the state is a line of text."""
    outputs = connected.run("%env RPC_MAGIC_NONINTERACTIVE=1\n%rpc_connect --name quiet")
    connected.run("import os; os.environ.pop('RPC_MAGIC_NONINTERACTIVE')")
    assert "quiet: connected" in text(outputs)
    assert all(one["type"] == "stream" for one in outputs)


@pytest.mark.parametrize("jedi", [True, False])
def test_completion_and_help_of_a_value_that_is_elsewhere(connected: Kernel, jedi: bool) -> None:
    """As a front end asks for them; the value stays where it is."""
    connected.run(f"get_ipython().Completer.use_jedi = {jedi}")
    connected.run("%%rpc_call\nimport pandas as pd\ndf = pd.DataFrame({'alpha': [1]})")
    client = connected.client
    code = "x = df.alp"
    found = client.complete(code, len(code), reply=True, timeout=TIMEOUT)["content"]
    start, end = found["cursor_start"], found["cursor_end"]
    assert [code[:start] + match + code[end:] for match in found["matches"]] == ["x = df.alpha"]
    code = "df['al"
    found = client.complete(code, len(code), reply=True, timeout=TIMEOUT)["content"]
    assert found["matches"] == ["alpha"]
    for code, said in (("df", "DataFrame"), ("df.groupby(", "Group DataFrame")):
        shown = client.inspect(code, len(code), reply=True, timeout=TIMEOUT)["content"]
        assert said in shown["data"]["text/plain"]
    (paged,) = client.execute("df.groupby?", reply=True, timeout=TIMEOUT)["content"]["payload"]
    assert "Group DataFrame" in paged["data"]["text/plain"]
    outputs = connected.run("type(get_ipython().user_ns['d' + 'f']).__name__")
    assert outputs[-1]["data"]["text/plain"] == "'RemoteValue'"


def _bars(outputs: list[dict[str, Any]]) -> list[str]:
    """Return the texts of the widgets that were shown."""
    return [
        one["data"]["text/plain"]
        for one in outputs
        if one["type"] == "display_data" and "application/vnd.jupyter.widget-view+json" in one["data"]
    ]


def test_a_long_fetch_and_a_long_upload_have_bars(connected: Kernel) -> None:
    """The session is stopped for as long as it takes until the bar is there."""
    (shown,) = connected.run(
        "%%rpc_call\nimport os, numpy as np\nbig, pid = np.zeros(10_000_000), os.getpid()\npid"
    )
    pid = int(shown["data"]["text/plain"])
    for code, what in (
        ("big.nbytes", "fetching big from local"),
        ("%%rpc_call\nlarge.nbytes", "sending to local"),
    ):
        connected.run("large = np.ones(10_000_000)")
        os.kill(pid, signal.SIGSTOP)
        try:
            cell = connected.start(code)
            connected.wait_for(cell, what)
        finally:
            os.kill(pid, signal.SIGCONT)
        outputs = connected.wait(cell)
        assert len(_bars(outputs)) >= 1
        (value,) = [one for one in outputs if one["type"] == "execute_result"]
        assert value["data"]["text/plain"] == "80000000"


def test_figures_tables_and_displays_in_order(connected: Kernel) -> None:
    """They appear as they would locally."""
    outputs = connected.run(
        "%%rpc_call\nimport matplotlib.pyplot as plt, pandas as pd\nfrom IPython.display import display, Image\n"
        "print('first')\nplt.plot([1, 2]); plt.show()\n"
        "display(pd.DataFrame({'a': [1]}))\ndisplay(Image(data=b'\\x89PNG\\r\\n\\x1a\\n' + bytes(40)))\n"
        "pd.DataFrame({'last': [2]})"
    )
    assert [one["type"] for one in outputs] == [
        "stream", "display_data", "display_data", "display_data", "execute_result",
    ]  # fmt: skip
    assert outputs[1]["data"]["image/png"].startswith("iVBOR")
    assert "<table" in outputs[2]["data"]["text/html"]
    assert outputs[3]["data"]["image/png"].startswith("iVBOR")
    assert "<th>last</th>" in outputs[4]["data"]["text/html"]


def test_a_figure_that_comes_back_is_shown_when_it_is_asked_for(connected: Kernel) -> None:
    """Not by being fetched; a kernel that has drawn nothing itself shows it as a picture all the same, once."""
    drawn = connected.run(
        "%%rpc_call\nimport matplotlib.pyplot as plt\nfig, axes = plt.subplots()\nplt.show()"
    )
    assert [one["type"] for one in drawn] == ["display_data"]
    assert connected.run("kept = fig.axes") == []
    (shown,) = connected.run("fig")
    assert shown["data"]["image/png"].startswith("iVBOR")
    assert connected.run("1;") == []


def test_a_figure_that_was_drawn_here_is_shown_there(connected: Kernel) -> None:
    """As a picture, in a session that has drawn none itself."""
    connected.run("import matplotlib.pyplot as plt\nfig, axes = plt.subplots()\nplt.close()")
    (shown,) = connected.run("%%rpc_call\naxes.set_title('there')\nfig")
    assert shown["data"]["image/png"].startswith("iVBOR")


def test_a_result_comes_before_the_figures_of_its_cell(connected: Kernel) -> None:
    """The value is shown where it comes, with this notebook's number; figures follow at the cell's end, as locally."""
    connected.run("plain = 1")
    cell = "import matplotlib.pyplot as plt\nfigure = plt.figure()\nplt.plot([1, 2])"
    assert [one["type"] for one in connected.run(cell)] == ["execute_result", "display_data"]
    here, there = connected.run("0"), connected.run(f"%%rpc_call\n{cell}")
    assert [one["type"] for one in there] == ["execute_result", "display_data"]
    assert there[0]["execution_count"] == here[0]["execution_count"] + 1
    assert [one["type"] for one in connected.run("%%rpc_call\nplt.gcf()")] == [
        "execute_result",
        "display_data",
    ]


def test_a_result_is_shown_as_the_session_formats_it(connected: Kernel) -> None:
    """Options that were set there hold for values that come here as well, and here; _ and Out have the value itself."""
    connected.run("%%rpc_call\n%precision 2")
    (shown,) = connected.run("%%rpc_call\n1 / 3")
    assert (shown["type"], shown["data"]) == ("execute_result", {"text/plain": "0.33"})
    (again,) = connected.run("_, Out[max(Out)] is _")
    assert again["data"]["text/plain"] == "(0.33, True)"
    assert connected.run("repr(_[0])")[0]["data"]["text/plain"] == repr(repr(1 / 3))
    connected.run("%precision")
    quiet = "%%rpc_call\nclass Quiet:\n    def _ipython_display_(self): print('by itself')\nQuiet()"
    assert [one["type"] for one in connected.run(quiet)] == ["stream"]


def test_a_result_that_is_captured_or_silenced(connected: Kernel) -> None:
    """%%capture around a remote cell gets the value; a semicolon shows nothing."""
    assert connected.run("%%capture caught\n%%rpc_call\n1 / 3") == []
    (shown,) = connected.run("caught.outputs[0].data['text/plain']")
    assert shown["data"]["text/plain"] == repr(repr(1 / 3))
    assert connected.run("%%rpc_call\n1 / 3;") == []


def test_an_error_that_does_not_end_the_cell(connected: Kernel) -> None:
    """That of a nested cell or of a formatter is an error output, as in a plain cell."""
    nested = connected.run("%%rpc_call\nget_ipython().run_cell('1/0')\nprint('on')")
    assert [one["type"] for one in nested] == ["error", "stream"]
    assert (nested[0]["ename"], nested[0]["evalue"]) == ("ZeroDivisionError", "division by zero")
    bad = connected.run("%%rpc_call\nclass Bad:\n    def __repr__(self): raise ValueError('bad')\nBad()")
    assert [one["type"] for one in bad] == ["error"]


@pytest.mark.parametrize("cell", ["%no_such_magic", "%%no_such_magic\nx", "!echo one", "!ls /usr | head -3"])
def test_magics_show_what_they_show_here(connected: Kernel, cell: str) -> None:
    """IPython's own usage errors, and commands, which have a terminal."""
    assert connected.run(f"%%rpc_call\n{cell}") == connected.run(cell)


def test_pages_and_next_inputs_go_to_the_front_end(connected: Kernel) -> None:
    """Help in a remote cell opens the pager and is no output, for names of here as well; %load fills the next cell."""
    connected.run("def f():\n    'What f does.'")

    def payload(code: str) -> Any:
        cell = connected.start(code)
        assert connected.wait(cell) == []
        while True:  # replies to earlier cells come first
            reply = connected.client.get_shell_msg(timeout=TIMEOUT)
            if reply["parent_header"]["msg_id"] == cell:
                (one,) = reply["content"]["payload"]
                return one

    page = payload("%%rpc_call\nf?")
    assert page["source"] == "page"
    assert "What f does." in page["data"]["text/plain"]
    assert payload("%%rpc_call\nget_ipython().set_next_input('x = 1')")["text"] == "x = 1"


def test_cells_have_the_numbers_of_this_notebook(connected: Kernel) -> None:
    """In and Out of the session count as the notebook does."""
    outputs = connected.run("%%rpc_call\n'a value'")
    number = outputs[0]["execution_count"]
    (shown,) = connected.run(f"%%rpc_call\nIn[{number}], Out[{number}], _{number}")
    assert shown["data"]["text/plain"] == "(\"'a value'\", 'a value', 'a value')"


def test_text_in_an_output_widget(connected: Kernel) -> None:
    """What is printed inside it is sent between the widget's messages, so that it gets there."""
    cell = "import ipywidgets\nbox = ipywidgets.Output()\nwith box:\n    print('inside')"
    kinds = [one["type"] for one in connected.run(f"%%rpc_call\n{cell}")]
    assert kinds == [one["type"] for one in connected.run(cell)]
    assert kinds.index("stream") < len(kinds) - 1


def test_output_of_a_background_cell_goes_to_its_cell(connected: Kernel, tmp_path: Path) -> None:
    """Also when another cell has run since."""
    go = tmp_path / "go"
    connected.run(f"go = {str(go)!r}")
    cell = connected.start(
        "%%rpc_call --noblock\nimport os, time\nwhile not os.path.exists(go): time.sleep(0.01)\n"
        "print('printed late')\nfrom IPython.display import display, HTML\ndisplay(HTML('shown late'))"
    )
    connected.wait(cell)
    other = connected.start("print('another'); open(go, 'w').close()")
    assert "late" not in str(connected.wait(other))
    connected.wait_for(cell, "printed late")
    connected.wait_for(cell, "shown late")
    assert "late" not in str(connected.run("%rpc_result"))


def test_output_of_a_thread_goes_to_its_cell(connected: Kernel, tmp_path: Path) -> None:
    """What a thread prints that a cell has left behind, while cells run here and there."""
    go = tmp_path / "go"
    connected.run(f"go = {str(go)!r}")
    first = connected.start(
        "%%rpc_call\nimport os, threading, time\nfrom IPython.display import display, HTML\ndef f():\n"
        "    while not os.path.exists(go): time.sleep(0.01)\n    print('printed late'); display(HTML('shown late'))\n"
        "thread = threading.Thread(target=f); thread.start()"
    )
    connected.wait(first)
    assert "late" not in str(connected.run("%%rpc_call\nopen(go, 'w').close(); thread.join()"))
    assert "late" not in str(connected.run("import time; time.sleep(0.1)"))
    connected.wait_for(first, "printed late")
    connected.wait_for(first, "shown late")


def test_a_background_cell_is_shown_live(connected: Kernel, tmp_path: Path) -> None:
    """A line with its state and time follows it; its output and its value come below, an error as text."""
    go = tmp_path / "go"
    connected.run(f"go = {str(go)!r}")
    cell = connected.start(
        "%%rpc_call --noblock\nimport os, time\nprint('begun')\nwhile not os.path.exists(go): time.sleep(0.01)\n6 * 7"
    )
    connected.wait(cell)
    connected.wait_for(cell, "<b>running</b> on local")
    waiting = connected.start("%%rpc_call --noblock\nfirst = 1\n1/0")
    connected.wait(waiting)
    connected.wait_for(waiting, "<b>waiting</b> on local")
    go.touch()
    connected.wait_for(cell, "<b>done</b>")
    connected.wait_for(cell, ": done, ")
    shown = [
        one
        for one in connected.outputs[cell]
        if one["type"] in {"stream", "display_data", "update_display_data"}
    ]
    kinds = ["display_data", "display_data", "stream", "display_data", "update_display_data"]
    assert [one["type"] for one in shown] == kinds
    assert shown[0]["data"]["text/plain"].startswith("<Call ")
    assert "application/vnd.jupyter.widget-view+json" in shown[1]["data"]
    assert shown[2]["text"] == "begun\n"
    assert shown[3]["data"] == {"text/plain": "42"}
    assert shown[4]["data"]["text/plain"].endswith("s>")
    connected.wait_for(waiting, "<b>failed</b>")
    assert "ZeroDivisionError" in text(connected.outputs[waiting])
    assert "error" not in {one["type"] for one in connected.outputs[waiting]}


def test_a_background_cell_is_cancelled_by_its_button(connected: Kernel) -> None:
    """The button is the widget's; pressing it interrupts the cell."""
    cell = connected.start("%%rpc_call --noblock\nimport time\nprint('begun')\ntime.sleep(600)")
    connected.wait(cell)
    connected.wait_for(cell, "begun")
    (button,) = [
        one["comm_id"]
        for one in connected.outputs[cell]
        if one["type"] == "comm_open" and one["data"]["state"].get("description") == "Cancel"
    ]
    content = {"comm_id": button, "data": {"method": "custom", "content": {"event": "click"}}}
    connected.client.shell_channel.send(connected.client.session.msg("comm_msg", content))
    connected.wait_for(cell, "<b>cancelled</b>")
    assert "2" in str(connected.run("%rpc_call 1 + 1"))


def test_prompts_of_a_remote_cell(connected: Kernel) -> None:
    """input(), getpass() and pdb ask here."""
    prompts, outputs = connected.answer(
        "%%rpc_call\nimport getpass\n(input('who? '), getpass.getpass())", "ann", "secret"
    )
    assert prompts == ["who? ", "Password: "]
    assert outputs[0]["data"]["text/plain"] == "('ann', 'secret')"
    prompts, outputs = connected.answer("%%rpc_call\nx = 5\nbreakpoint()\ny = 6", "p x * 2", "c")
    assert prompts == ["(Pdb) ", "(Pdb) "]
    assert "10" in text(outputs)
    assert "6" in str(connected.run("y"))


def test_a_token_is_asked_for(connected: Kernel, tmp_path: Path) -> None:
    """Where none is known it is typed unseen, is in no history, and is found again when that was asked for."""
    kernel = connected
    with serving_abroad(tmp_path) as (url, token):
        prompts, outputs = kernel.answer(f"%rpc_connect {url} --no-widget", "nonsense")
        assert url.partition("/?")[0] in prompts[0]
        assert "64 hexadecimal digits" in str(outputs)
        kernel.answer(f"%rpc_connect {url} --no-widget --name typed", token)
        _, outputs = kernel.answer(f"%rpc_connect {url} --no-widget --name kept --remember", token)
        assert token not in str(outputs)
        outputs = kernel.run("%rpc_disconnect typed\n%rpc_disconnect kept\n%rpc_connect kept --no-widget")
        assert "kept: connected" in str(outputs)
        assert token not in str(kernel.run("%history -n\nprint(In, dir())"))
        kernel.run("%rpc_disconnect kept")
        environ = {**os.environ, "RPC_MAGIC_RUNTIME_DIR": str(tmp_path / "r")}
        rotate = [sys.executable, "-m", "rpc_magic", "token", "--rotate", "--keep", "0"]
        subprocess.run(rotate, check=True, env=environ)
        new = (tmp_path / "r" / "tokens" / "default.token").read_text().strip()
        prompts, outputs = kernel.answer("%rpc_connect kept --no-widget", new)
        assert len(prompts) == 1, "the one that was kept is not its own any more"
        assert "kept: connected" in str(outputs)
        outputs = kernel.run("%rpc_disconnect kept\n%rpc_connect kept --no-widget")
        assert "kept: connected" in str(outputs), "the new one is kept instead"
        kernel.run("%rpc_disconnect kept")


@contextmanager
def serving_abroad(folder: Path) -> Iterator[tuple[str, str]]:
    """Run a server that this user has no record of; gives its URL and token."""
    environ = {**os.environ, "RPC_MAGIC_RUNTIME_DIR": str(folder / "r")}
    command = [sys.executable, "-m", "rpc_magic", "serve", "--tls", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        yield url, (folder / "r" / "tokens" / "default.token").read_text().strip()
    finally:
        process.terminate()
        process.communicate(timeout=TIMEOUT)


def test_debugging_a_remote_error(connected: Kernel) -> None:
    """%rpc_debug opens the debugger at the remote frame; %debug says that, and what it is for itself."""
    connected.run("%%rpc_call\ndef f(a):\n    b = a + 1\n    return b / 0\nf(41)")
    assert "happened on local" in text(connected.run("%debug"))
    for code in ("%rpc_debug", "%%rpc_call\n%debug"):
        prompts, outputs = connected.answer(code, "p b", "q")
        assert set(prompts) == {"ipdb> "}
        assert "return" in text(outputs)
        assert "42" in text(outputs).splitlines()


@pytest.mark.parametrize("cell", ["1/0", "raise ExceptionGroup('g', [ValueError('one')])", "x = ("])
def test_tb_shows_the_remote_traceback_again(connected: Kernel, cell: str) -> None:
    """Of errors, exception groups and syntax errors alike."""
    (error,) = connected.run(f"%%rpc_call\n{cell}")
    (again,) = connected.run("%tb")
    assert again["traceback"] == error["traceback"]


def test_a_flood(connected: Kernel) -> None:
    """Of a million lines the first and last are shown and the rest is counted; %%capture has them all."""
    cell = "for n in range(1_000_000): print(n)"
    lines = text(connected.run(f"%%rpc_call\n{cell}")).splitlines()
    assert lines[:10_000] == [str(n) for n in range(10_000)]
    assert lines[10_000] == ""
    assert lines[10_001].startswith("[989,000 lines (6.8 MB) left out; %rpc_config output_lines")
    assert lines[10_002:] == [str(n) for n in range(999_000, 1_000_000)]
    connected.run("%rpc_config output_lines 100")
    assert len(text(connected.run(f"%%rpc_call\n{cell}")).splitlines()) == 112
    connected.run("%rpc_config output_lines 10000")
    connected.run(f"%%capture all_of_it\n%%rpc_call\n{cell}")
    assert "1000000" in str(connected.run("len(all_of_it.stdout.splitlines())"))


def test_stop_in_a_kernel(connected: Kernel, tmp_path: Path) -> None:
    """The cell ends with KeyboardInterrupt and the remote line; the session lives."""
    # One statement: between two of them IPython runs, and an interrupt there has no line of the cell's.
    text = "if kept:\n    print('running', flush=True)\n    time.sleep(60)"
    cell = connected.start(f"%%rpc_call\nimport time\nkept = 3\n{text}")
    connected.wait_for(cell, "running")
    connected.manager.interrupt_kernel()
    (error,) = [one for one in connected.wait(cell) if one["type"] == "error"]
    assert error["ename"] == "KeyboardInterrupt"
    assert "sleep" in "".join(error["traceback"])
    assert "rpc_magic/" not in "".join(error["traceback"])
    assert "3" in str(connected.run("%rpc_call kept"))


def test_a_misuse_is_an_error_output(connected: Kernel) -> None:
    """IPython's own usage errors are only printed; ours are errors, which papermill looks for."""
    (error,) = connected.run("%%rpc_call -q\n1")
    assert error["type"] == "error"
    assert error["traceback"] == [
        "UsageError: %rpc_call: unrecognized arguments: -q; %rpc_call? shows how it is used"
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize(
    "bad", ["%%rpc_call\n1/0", "%%rpc_call -s nope\n1", "gen", "%%rpc_call\nraise SystemExit(3)"]
)
def test_papermill_stops(tmp_path: Path, bad: str) -> None:
    """A remote error, a misuse, one inside the cell, and a value that cannot be had each end the run."""
    import papermill

    cells = ["%load_ext rpc_magic\n%rpc_connect", "%%rpc_call\ngen = (i for i in ())", bad, "never = 1"]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python", "language": "python"}}
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells], metadata=metadata)
    source, target = tmp_path / "in.ipynb", tmp_path / "out.ipynb"
    write(notebook, source)
    with pytest.raises(papermill.PapermillExecutionError) as caught:
        papermill.execute_notebook(source, target, progress_bar=False)
    assert caught.value.exec_count == 3


def test_terminal_ipython(tmp_path: Path) -> None:
    """No widget, plain text, the same results."""
    script = (
        "%load_ext rpc_magic\n%rpc_connect\nx = [1]\n%rpc_call x.append(2)\nprint('x is', x)\n%rpc_call 1/0\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "IPython",
            "--simple-prompt",
            "--no-banner",
            "--no-confirm-exit",
            "--colors=nocolor",
        ],
        input=script,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        env={**os.environ, "IPYTHONDIR": str(tmp_path), "TERM": "dumb"},
    )
    assert "local: connected, unix://" in done.stdout
    assert "x is [1, 2]" in done.stdout
    assert "ZeroDivisionError: division by zero" in done.stdout
    assert "\x1b[3" not in done.stdout
