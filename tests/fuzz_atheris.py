"""Fuzz the reader guided by coverage: ``python tests/fuzz_atheris.py --seconds 600``.

Needs atheris (``pip install kmq[fuzz]``). Starts from the golden files, mutates mostly the payload
of one chunk, puts strip table and CRCs right, and goes on from what reaches new lines of the reader
(the kernels are compiled and not seen). Stops at a finding, which stays in tests/crashers, where
the tests go through it. Options after ``--`` go to libFuzzer.
"""

import argparse
import random
import sys
import tempfile

import atheris

with atheris.instrument_imports(include=["kmq"], exclude=["kmq.kernels"]):
    import kmq.files  # noqa: F401  # and through it all that reads

import fuzz


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
    parser.add_argument("libfuzzer", nargs="*", help="options of libFuzzer")
    options = parser.parse_args()
    fuzz.CRASHERS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        arguments = [
            sys.argv[0],
            f"-max_total_time={options.seconds}",
            f"-artifact_prefix={fuzz.CRASHERS}/",
            "-max_len=4096",
            "-timeout=120",
            "-report_slow_units=60",  # the first ones wait for compilation
            *options.libfuzzer,
            corpus,
            str(fuzz.GOLDEN),
        ]
        atheris.Setup(
            arguments,
            lambda content: fuzz.judge(content, salvaging=True),
            custom_mutator=mutated,
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
