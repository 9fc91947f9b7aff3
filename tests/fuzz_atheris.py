"""Fuzz the reader guided by coverage: ``python tests/fuzz_atheris.py --seconds 600``.

Needs atheris (``pip install 'kmq[fuzz]'``). Starts from the golden files, mutates mostly the
payload of one chunk, puts strip table and CRCs right, and goes on from what reaches new lines of
the reader (the kernels are compiled and not seen). Stops at a finding, which stays in
tests/crashers, where the tests go through it. Options after ``--`` go to libFuzzer.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time

import atheris

with atheris.instrument_imports(include=["kmq"], exclude=["kmq.kernels"]):
    import kmq.files  # noqa: F401  # and through it all that reads

import fuzz

_RUNS = 50_000  # of one process


def mutated(content, max_size, seed):
    """Return bytes like these, as libFuzzer asks for."""
    rng = random.Random(seed)  # noqa: S311  # nothing secret
    chunks = fuzz.split(content)
    if not chunks or rng.random() < 0.1:
        return atheris.Mutate(content, max_size)
    at = rng.randrange(len(chunks))
    letter, payload = chunks[at]
    room = max(1, max_size - len(content) + len(payload) - 8)
    chunks[at] = letter, atheris.Mutate(payload, min(room, len(payload) + 64))
    return fuzz.joined(chunks, with_table=rng.random() < 0.9)[:max_size]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", help="folder to keep what reaches new lines in")
    parser.add_argument("--once", action="store_true", help="stop after some files")
    parser.add_argument("libfuzzer", nargs="*", help="options of libFuzzer")
    options = parser.parse_args()
    fuzz.CRASHERS.mkdir(exist_ok=True)
    if options.once:
        fuzz_once(options)
    with tempfile.TemporaryDirectory() as corpus:
        sys.exit(fuzz_until(time.monotonic() + options.seconds, options.corpus or corpus, options))


def fuzz_until(ends, corpus, options):
    """Start processes until the time is over or one has a finding; return its exit code.

    Several, because each run under atheris's instruments leaves some 20 kB of memory behind.
    """
    code = 0
    while code == 0 and (left := round(ends - time.monotonic())) > 0:
        command = [sys.executable, __file__, "--once", "--seconds", str(left), "--corpus", corpus]
        code = subprocess.run([*command, "--", *options.libfuzzer]).returncode
    return code


def fuzz_once(options):
    """Fuzz in this process, which libFuzzer ends."""
    arguments = [
        sys.argv[0],
        f"-max_total_time={options.seconds}",
        f"-runs={_RUNS}",
        f"-artifact_prefix={fuzz.CRASHERS}/",
        "-max_len=4096",
        "-timeout=120",
        "-report_slow_units=60",  # the first ones wait for compilation
        "-rss_limit_mb=4096",
        *options.libfuzzer,
        options.corpus,
        str(fuzz.GOLDEN),
    ]
    atheris.Setup(
        arguments, lambda content: fuzz.judge(content, salvaging=True), custom_mutator=mutated
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
