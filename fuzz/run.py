"""Fuzz everything that reads from the network, for a stated time.

    pip install -e '.[fuzz]'
    python fuzz/run.py                      60 seconds, by Atheris (coverage-guided)
    python fuzz/run.py --seconds 3600 --corpus build/corpus
    python fuzz/run.py build/crash-...      run an input again that broke something

Where Atheris cannot be had (it has no wheel for this Python), inputs are made at random, and that is said. Memory is
bounded by `MEMORY_MB`: an input that needs more is a finding too. The invariants are in `targets`.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

MEMORY_MB = 2048
"""Of the whole process, fuzzer included; the targets' own limits are some megabytes."""

INPUT_SECONDS = 20
"""An input that takes longer is a finding."""

LARGEST = 400
"""Bytes of an input: decisions, not content."""


def seeds() -> list[bytes]:
    """Return inputs that begin each target: all decisions honest, and noise."""
    from targets import TARGETS

    noise = random.Random(1)
    return [bytes([n]) + bytes(40) for n in range(len(TARGETS))] + [
        bytes([n]) + noise.randbytes(LARGEST - 1) for n in range(len(TARGETS))
    ]


def by_atheris(options: argparse.Namespace, folder: Path) -> None:
    """Run until the time is over; libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["rpc_magic", "targets", "msgspec"]):
        import targets
    corpus = Path(options.corpus) if options.corpus else folder
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    flags = [
        f"-max_total_time={options.seconds}",
        f"-max_len={LARGEST}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-timeout={INPUT_SECONDS}",
        f"-artifact_prefix={options.artifacts}/",
        "-verbosity=0",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *flags, *(options.inputs or [str(corpus)])], targets.run)
    atheris.Fuzz()


def by_chance(options: argparse.Namespace) -> None:
    """The same without Atheris: inputs at random, from the seeds on."""
    import targets

    inputs = [Path(path).read_bytes() for path in options.inputs]
    for data in inputs:
        targets.run(data)
    chance = random.Random(options.seed)
    known, count, end = seeds(), 0, time.monotonic() + (0 if inputs else options.seconds)
    while time.monotonic() < end:
        data = bytearray(chance.choice(known))
        for _ in range(chance.randrange(8)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        began = time.monotonic()
        try:
            targets.run(bytes(data))
        except BaseException:
            path = Path(options.artifacts) / "crash-by-chance"
            path.write_bytes(data)
            print(f"the input is in {path}", flush=True)
            raise
        assert time.monotonic() - began < INPUT_SECONDS, data.hex()
        count += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    assert peak < MEMORY_MB, f"{peak} MB"
    print(f"{count:,} inputs at random, {peak} MB at most: nothing was found", flush=True)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="Fuzz what reads from the network.")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", default="", help="folder of inputs to begin with and to add to")
    parser.add_argument("--artifacts", default=".", help="folder for an input that breaks something")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs at random")
    parser.add_argument("--by-chance", action="store_true", help="without Atheris")
    parser.add_argument("inputs", nargs="*", help="run these inputs and nothing else")
    options = parser.parse_args()
    Path(options.artifacts).mkdir(parents=True, exist_ok=True)
    if not options.by_chance:
        try:
            import atheris  # noqa: F401 - whether it is there
        except ImportError:
            print("Atheris is not installed here: inputs are made at random", flush=True)
            options.by_chance = True
    if options.by_chance:
        by_chance(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        by_atheris(options, Path(folder))


if __name__ == "__main__":
    main()
