"""``--cluster``: files are worked on where a Dask cluster has room."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kmq.cli.console import Options, UsageError
from kmq.errors import InputError, MissingExtraError
from kmq.threads import resolve_threads

_LOCAL = "local"

_PATIENCE = 10
"""Seconds in which a scheduler must answer."""


def add_option(parser: Options) -> None:
    """Add ``--cluster``."""
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="work on the Dask cluster whose scheduler is at this address, as tcp://10.0.0.5:8786, "
        "whose workers must see the same files, and fetch and write URLs themselves; local starts "
        "a process for each of --threads, one thread each. A worker that is lost costs a retry",
    )


@contextmanager
def client_of(arguments: argparse.Namespace) -> Iterator[Any]:
    """Give a ``distributed.Client``, or None without the option.

    Raises:
        UsageError: ``--jobs`` is given as well.
        MissingExtraError: Dask is not installed.
        InputError: no scheduler answers.
    """
    address = arguments.cluster
    if address is None:
        yield None
        return
    if arguments.jobs != 1:
        raise UsageError(
            "--cluster and --jobs are both given; a cluster has as many as its workers"
        )
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise MissingExtraError("--cluster needs Dask: pip install 'kmq[dask]'") from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what is lost is told per file
    if address == _LOCAL:
        n_workers = resolve_threads(arguments.threads)
        cluster = LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            dashboard_address=None,
            # Nobody looks at its server, which takes port 8787 else and warns where it is in use.
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            silence_logs=logging.CRITICAL,
        )
        with cluster, Client(cluster, set_as_default=False) as client:
            yield client
        return
    try:
        client = Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"--cluster {address}: no Dask scheduler answers there ('dask scheduler' starts one)"
        ) from error
    with client:
        yield client


def one_line(error: Exception) -> str:
    """Return what an error of Dask's says; some say it in several lines."""
    return " ".join(str(error).split())
