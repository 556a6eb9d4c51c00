"""A worker as its keeper holds it: output, causes of death, descendants. Forks real processes, in a process apart."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "client"))

from live import Script

DRIVER = """
import os, selectors, signal, subprocess, sys, time
from pathlib import Path
from rpc_magic.settings import ServerSettings
from rpc_magic.transport import PacketSocket
from rpc_magic.wire import internal
from rpc_magic.worker.kept import KeptWorker
from rpc_magic.worker.system import become_subreaper

become_subreaper()
selector = selectors.DefaultSelector()

class Template:
    def modules_folder(self, ticket):
        return "/nowhere"

    def spool_file(self, ticket):
        return Path("/nowhere/spool")

    def become_worker(self, request, link, own, page, spool):
        try:
            life(PacketSocket.from_descriptor(own))
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(99)

ended = []
settings = ServerSettings(drained=100_000, last_words=50, end_seconds=0.3)

def keep():
    request = internal.Fork(os.urandom(16), "s", "/", (), {{}}, 1000)
    worker = KeptWorker.fork(request, Template(), settings, selector, lambda: None)
    worker.on_exit = lambda w, e: (ended.append(e), w.close)
    worker.known = lambda: worker.pids
    return worker

def loop(until, seconds=20):
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline
        worker.enforce_end()
        for key, _ in selector.select(0.05):
            key.data()

{life}

worker = keep()
{rest}
print("ok", flush=True)
os._exit(0)
"""


@pytest.fixture
def drive(tmp_path):
    """Run a keeper of one worker: what the worker does, and what is checked."""
    started = []

    def run(life, rest="loop(lambda: ended)"):
        one = Script(DRIVER.format(life=life, rest=rest), tmp_path, options=("-W", "error::RuntimeWarning"))
        started.append(one)
        assert one.finish() == "ok\n", one.errors

    yield run
    for one in started:
        one.close()


def test_processes_of_the_engine_leave_no_trace(drive):
    """One that has ended is waited for at once, and costs its keeper no descriptor."""
    drive(
        "def life(own):\n"
        " own.send(internal.ForkEngine(3))\n"
        " assert own.wait(10)\n"
        " message, ends = own.receive()\n"
        " os.write(2, b' '.join(b'%d' % pid for pid in message.pids))\n"
        " time.sleep(60)\n",
        "Template.become_engine = lambda self, request, sock: os._exit(0)\n"
        "before = os.listdir('/proc/self/fd')\n"
        "loop(lambda: worker._last_words.count(b' ') == 2)\n"
        "pids = [int(pid) for pid in worker._last_words.split()]\n"
        "loop(lambda: not any(os.path.exists(f'/proc/{pid}') for pid in pids))\n"
        "loop(lambda: len(os.listdir('/proc/self/fd')) == len(before))\n"
        "assert worker.pids == {worker.pid}\n"
        "worker.end(now=True)\n"
        "loop(lambda: ended)",
    )


@pytest.mark.parametrize(
    ("death", "cause"),
    [
        ("os._exit(7)", "its process exited with status 7"),
        ("os.kill(os.getpid(), signal.SIGSEGV); time.sleep(9)", "killed by SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGKILL); time.sleep(9)", "killed by SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGRTMIN + 3); time.sleep(9)", "killed by signal 37"),
    ],
)
def test_causes(drive, death, cause):
    """How a worker ended is told in words."""
    drive(f"def life(own): {death}", f"loop(lambda: ended)\nassert ended[0].cause == {cause!r}, ended")


def test_last_words_are_bounded(drive):
    """The end of the standard error is kept, so much and no more."""
    drive(
        "def life(own):\n os.write(2, b'x' * 60_000 + b' the very end'); os._exit(1)",
        "loop(lambda: ended)\nwords = ended[0].last_words\nassert words.endswith('the very end')\n"
        "assert len(words) <= 50",
    )


def test_drained_output_is_bounded(drive):
    """A worker that does not take its output back may write on: what does not fit is dropped and counted."""
    drive(
        "def life(own):\n"
        " for _ in range(3000): os.write(1, b'y' * 1000)\n"
        " os.write(2, b'done')\n"
        " time.sleep(0.2)\n"
        " got = dropped = 0\n"
        " while got + dropped < 3_000_000:\n"
        "  os.write(1, b'z')\n"
        "  assert own.wait(10)\n"
        "  message, _ = own.receive()\n"
        "  if message.fd == 1: got += len(message.data); dropped += message.dropped\n"
        " assert dropped > 300_000, dropped\n"
        " os._exit(5)",
        "loop(lambda: ended)\nassert worker._pending_bytes <= 100_000\nassert 'status 5' in ended[0].cause, ended",
    )


def test_sync_gives_everything_first(drive):
    """What was written before SyncOutput comes before Synced, on both descriptors."""
    drive(
        "def life(own):\n"
        " for n in range(20):\n"
        "  os.write(1, b'a' * 30_000); os.write(2, b'b')\n"
        "  own.send(internal.SyncOutput(n))\n"
        "  got = {1: 0, 2: 0}\n"
        "  while own.wait(10):\n"
        "   message, _ = own.receive()\n"
        "   if isinstance(message, internal.Synced): break\n"
        "   got[message.fd] += len(message.data)\n"
        "  assert message.number == n and got == {1: 30_000, 2: 1}, got\n"
        " os._exit(4)",
        "loop(lambda: ended)\nassert 'status 4' in ended[0].cause, ended",
    )


def test_sync_beside_an_endless_writer(drive):
    """A child that writes for ever does not keep Synced from coming."""
    drive(
        "def life(own):\n"
        " child = subprocess.Popen(['yes'], stderr=subprocess.DEVNULL)\n"
        " own.send(internal.SyncOutput(1))\n"
        " while own.wait(10):\n"
        "  message, _ = own.receive()\n"
        "  if isinstance(message, internal.Synced): break\n"
        " os._exit(4)",
        "loop(lambda: ended)\nassert 'status 4' in ended[0].cause, ended",
    )


def test_garbage_from_a_worker(drive):
    """A worker that sends no message loses its ear, and the keeper goes on."""
    drive(
        "def life(own):\n own._sock.send(b'\\xc1garbage')\n assert own.wait(10)\n"
        " try: own.receive()\n except EOFError: os._exit(6)",
        "loop(lambda: ended)\nassert 'status 6' in ended[0].cause, ended",
    )


def test_end(drive):
    """One that is told to end ends; one that is deaf to SIGTERM is killed in time; the cause says so."""
    drive(
        "def life(own):\n signal.signal(signal.SIGTERM, signal.SIG_IGN); os.write(1, b'!'); time.sleep(60)",
        "loop(worker._page.drained)\nbegan = time.monotonic()\nworker.end()\nloop(lambda: ended)\n"
        "assert 0.2 < time.monotonic() - began < 3\nassert ended[0].cause == 'it was ended'",
    )


def test_descendants_end(drive):
    """Children, grandchildren and daemons of a dead worker end with it, and none is left as a zombie."""
    drive(
        "def life(own):\n"
        " subprocess.Popen(['sleep', '600'])\n"
        " subprocess.run([sys.executable, '-c', 'import os, time\\nif os.fork(): os._exit(0)\\nos.setsid()\\n'\n"
        "   'if os.fork(): os._exit(0)\\ntime.sleep(600)'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        " os._exit(0)",
        "loop(lambda: ended)\nimport psutil\nassert not psutil.Process().children(recursive=True)",
    )


def test_a_worker_that_dies_while_its_engine_is_made(drive):
    """The keeper, and with it every other session, goes on when nobody is left to take the processes."""
    drive(
        "def life(own):\n own.send(internal.ForkEngine(2))\n os.kill(os.getpid(), signal.SIGKILL)",
        "Template.become_engine = lambda self, request, sock: os._exit(0)\n"
        "while 'Z' not in Path(f'/proc/{worker.pid}/stat').read_text().rpartition(')')[2]: time.sleep(0.01)\n"
        "loop(lambda: ended)\n"
        "assert ended[0].cause == 'killed by SIGKILL', ended\n"
        "assert not [one for one in os.scandir('/proc/self/fd') if 'socket:' in os.path.realpath(one.path)]",
    )


def test_a_worker_that_takes_nothing_while_its_engine_is_made(drive):
    """The keeper does not wait for it, and makes no more processes than one packet tells of; they come in turn."""
    drive(
        "def life(own):\n"
        " signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})\n"
        " for n in range(2000): own.send(internal.SyncOutput(n))\n"
        " own.send(internal.ForkEngine(300))\n"
        " signal.sigwait({signal.SIGUSR1})\n"
        " message = None\n"
        " while not isinstance(message, internal.EngineForked):\n"
        "  assert own.wait(10)\n"
        "  message, ends = own.receive()\n"
        " assert 0 < len(message.pids) == len(ends) <= 253, message\n"
        " os._exit(5)",
        "Template.become_engine = lambda self, request, sock: (sock.recv(1), os._exit(0))\n"
        "loop(lambda: worker._engine)\n"
        "os.kill(worker.pid, signal.SIGUSR1)\n"
        "loop(lambda: ended)\n"
        "assert 'status 5' in ended[0].cause, ended",
    )


def test_what_cannot_be_ended(drive):
    """A command of another user's, as of sudo, holds its session's end up for a moment, and the keeper no longer."""
    drive(
        "def life(own):\n subprocess.Popen(['yes'])\n os._exit(7)",
        "import psutil\n"
        "def refuse(process): raise psutil.AccessDenied(process.pid)\n"
        "psutil.Process.kill = refuse\n"
        "loop(lambda: ended)\n"
        "assert 'status 7' in ended[0].cause, ended\n"
        "for left in psutil.Process().children(): os.kill(left.pid, signal.SIGKILL); left.wait()",
    )
