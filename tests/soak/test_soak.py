"""Minutes of random calls with random cuts, interrupts, deaths and server restarts: nothing is lost or run twice.

``pytest -m soak`` takes ten minutes and what a calm run of the same calls takes; RPC_MAGIC_SOAK_SECONDS says another
time, RPC_MAGIC_SOAK_SEED repeats a run's choices (what happens when is the machine's). With ``-s`` it tells figures.

The server is told to end in the first third of the time and killed in the first two: the processes of the last third
live long enough for their memory to be judged. Those of the first client's session go on from the first third.
"""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from checks import Server
from clients import Entry, Task, read_journal
from live import SECONDS, eventually
from proxy import Proxy, proxied
from watching import Watch, processes

LENGTH = float(os.environ.get("RPC_MAGIC_SOAK_SECONDS", "600"))
CLIENTS = 4
FAILS = 0.1
"""One read in ten fails, of those that the network between the clients and the server does."""
FLAT = 12 << 20
"""Bytes that a process may grow by from the middle of its life to the end: some arrays that it holds, as it may."""


class Trouble(NamedTuple):
    """When the server was told to end, or killed, and when the next one was there."""

    ends: list[tuple[float, float]]
    kills: list[tuple[float, float]]

    def is_near(self, moment: float, *, kills: bool) -> bool:
        """Tell whether a call that ended then may have done so because the server did."""
        times = self.ends + self.kills if kills else self.ends
        return any(told < moment < back + 2 * SECONDS for told, back in times)


def _trouble(server: Server, proxy: Proxy, seed: str, until: float) -> Trouble:
    """End and kill the server and start it again, over and over."""
    rng = random.Random(seed)
    began, done = time.monotonic(), Trouble([], [])
    while (now := time.monotonic()) < until:
        elapsed = (now - began) / (until - began)
        wait = rng.uniform(5, 20) * min(1.0, LENGTH / 120)
        if elapsed > 2 / 3 or now + wait > until:
            time.sleep(until - now)
            break
        time.sleep(wait)
        told = time.monotonic()
        is_told = elapsed < 1 / 3 and rng.random() < 0.4
        if is_told:
            server.stop()
        else:
            server.process.kill()
            server.process.wait()
            time.sleep(rng.choice((0.0, 0.5)))
        server.start()
        (done.ends if is_told else done.kills).append((told, time.monotonic()))
        proxy.lead_to(server.url)
    return done


class Run:
    """The four clients of one run.

    Args:
        folder: where they write.
        url: where they connect.
        server: whose token they have.
        seed: of all that they do.
        seconds: for how long.
        after: the run that they repeat in calm; None in the storm.
    """

    def __init__(
        self, folder: Path, url: str, server: Server, seed: str, seconds: float, after: Run | None = None
    ) -> None:
        folder.mkdir()
        self.tasks = [
            Task(
                url,
                server.token_file,
                f"soak{n}",
                f"{seed} {n}",
                str(folder / f"journal{n}"),
                str(folder / f"ledger{n}"),
                seconds,
                is_killed=n > 0,
                after=after.tasks[n].journal if after is not None else "",
            )
            for n in range(CLIENTS)
        ]
        self._clients = [
            subprocess.Popen(
                [
                    sys.executable,
                    "-W",
                    "error",
                    str(Path(__file__).parent / "clients.py"),
                    msgspec.json.encode(task),
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=folder,
                text=True,
            )
            for task in self.tasks
        ]

    def finish(self, seconds: float) -> tuple[int, int]:
        """Wait for their ends.

        Returns:
            How often they have killed their session from outside, and how often it had the variables that it had when
            its server was told to end.
        """
        kills = kept = 0
        try:
            for client in self._clients:
                out, err = client.communicate(timeout=seconds)
                lines = err.splitlines()
                told = [line for line in lines if "has its variables from when its server ended" in line]
                # A client may kill its session while that keeps its variables, or the machine be too busy for that.
                ends = ": its process has ended", ", and did not end when it was interrupted"
                killed = [line for line in lines if line.endswith(ends)]
                assert (client.returncode, len(lines)) == (0, len(told) + len(killed)), err
                kills += int(out.splitlines()[-1])
                kept += len(told)
        finally:
            for client in self._clients:
                client.kill()
                client.wait()
        return kills, kept

    def entries(self) -> list[list[Entry]]:
        """Return what came of each client's calls."""
        return [list(read_journal(task.journal)) for task in self.tasks]

    def check_once(self) -> None:
        """Every call is accounted for: what gave something ran once, what ended early at most once, nothing else."""
        for task in self.tasks:
            ends = {entry.number: entry.end for entry in read_journal(task.journal) if entry.number}
            if not task.after:
                assert sorted(ends) == list(range(1, len(ends) + 1)), "a call has no end"
            noted = Counter(Path(task.ledger).read_text().split())
            twice = {number for number, count in noted.items() if count > 1}
            assert not twice, f"these ran twice: {twice}"
            ran = {int(number.partition(".")[0]) for number in noted}  # what follows is the number of a task
            lost = {n for n, end in ends.items() if end in {"value", "error"} and n not in ran}
            assert not lost, f"these gave something and did not run: {lost}"
            assert ran <= set(ends)


def _check_deaths(entries: Iterable[Entry], trouble: Trouble) -> None:
    """A session goes because it was killed, or because the server was told to end; so do calls that it stops.

    The program that the server exposes goes whenever the server does.
    """
    for entry in entries:
        is_its_own = (entry.end == "stopped" and not entry.is_torn) or "killed by SIGKILL" in entry.value
        if entry.end in {"stopped", "died", "unknown"} and not is_its_own:
            assert trouble.is_near(entry.at, kills=entry.end == "unknown"), f"for no reason: {entry}"


def _compare(storm: list[Entry], calm: list[Entry]) -> None:
    """What came of each call is the same in the calm run; of a stopped one, what it had shown is the beginning."""
    repeated = {entry.number: entry for entry in calm}
    for entry in storm:
        one = repeated.get(entry.number)
        if entry.end == "stopped":
            assert one is not None
            texts = ["".join(str(part) for _, part in shown.shown) for shown in (entry, one)]
            assert texts[1].startswith(texts[0]), f"other output: {entry}, in the calm {one}"
        elif entry.end in {"value", "error"} and not entry.is_torn:
            assert one is not None
            same = [(it.kind, it.end, it.value, it.shown) for it in (entry, one)]
            assert same[0] == same[1], f"another end: {entry}, in the calm {one}"


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


@pytest.mark.soak
@pytest.mark.timeout(3 * LENGTH + 20 * SECONDS)
def test_soak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call is accounted for exactly once, outputs are those of a calm run, and nothing is left behind."""
    seed = os.environ.get("RPC_MAGIC_SOAK_SEED") or secrets.token_hex(4)
    print(f"the seed is {seed}")
    runtime = Path(os.environ["RPC_MAGIC_RUNTIME_DIR"])
    temporary, place = tmp_path / "temporary", tmp_path / "server"
    for folder in (temporary, place):
        folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    server = Server(place, "--port", "0", "--name", "soak", "--stop-seconds", "2", "--expose", "named")
    size = server.size()
    with proxied(server.url) as proxy, Watch(max(0.5, LENGTH / 200)) as watch:
        try:
            luck = random.Random(f"{seed} cuts")
            proxy.fails = lambda: luck.random() < FAILS
            storm = Run(tmp_path / "storm", proxy.url, server, seed, LENGTH)
            trouble = _trouble(server, proxy, f"{seed} server", time.monotonic() + LENGTH)
            cuts, reads = proxy.cuts, proxy.reads
            proxy.fails = bool  # what is under way comes to its end soon
            kills, kept = storm.finish(5 * SECONDS)
            # A session has two descriptors in the supervisor, and an earlier keeper one.
            most = size[0] + 3 * CLIENTS
            eventually(lambda: server.size()[0] <= most and server.size()[1] == size[1], "its usual size")
        except BaseException:
            print(server.log[-5_000:])
            raise
        finally:
            server.stop()
    eventually(lambda: not processes(), "the end of all processes")
    began = time.monotonic()
    server.start()
    try:
        calm = Run(tmp_path / "calm", server.url, server, seed, 0.0, storm)
        calm.finish(LENGTH + 5 * SECONDS)
    finally:
        server.stop()
    entries = [entry for client in storm.entries() for entry in client if entry.number]
    grown = watch.grown()
    dying = sum(entry.kind == "dying" for entry in entries)
    print(
        f"{len(entries)} calls, {dict(Counter(entry.end for entry in entries))} over {proxy.connections} connections; "
        f"{cuts} of {reads} reads failed; sessions killed {kills} times from outside, {dying} from inside; "
        f"server told to end {len(trouble.ends)} times (sessions back with their variables: {kept}), "
        f"killed {len(trouble.kills)} times; calm: {time.monotonic() - began:.0f} s\n"
        f"grown: {grown}\nMiB over time: {watch.sizes()}"
    )
    assert 0.5 * FAILS < cuts / reads < 1.5 * FAILS
    assert "Traceback" not in server.log, server.log
    for run in (storm, calm):
        run.check_once()
    _check_deaths(entries, trouble)
    for one, other in zip(storm.entries(), calm.entries(), strict=True):
        _compare(one, other)
    assert {"supervisor", "keeper", "worker", "client", "program"} <= set(grown)
    for kind, growth in grown.items():
        assert growth.memory < FLAT, f"the memory of a {kind} grows: {growth}"
        # A keeper has eight descriptors for each session, and one of each that died and has left something.
        assert max(growth.descriptors, growth.threads) <= 10 * CLIENTS, f"a {kind} grows: {growth}"
    assert not processes()
    # What is kept of sessions is no rest: of each a record, its variables, and what a call has said that ended after
    # its client had stopped it and gone.
    held = {name for name in _files(runtime) if name.startswith("kept/")}
    kinds = Counter(Path(name).suffix for name in held)
    assert all(kinds[kind] <= CLIENTS for kind in kinds), sorted(held)
    left = {name for name in _files(runtime) - held if not name.startswith("tokens/")}
    assert not left | _files(temporary), f"files are left: {left}, {_files(temporary)}"
    assert _files(place) == {"server.log"}
