"""The whole suite runs on several cores; tests that are named run in one process."""

import os

import pytest

os.environ["COLUMNS"] = "80"  # whatever terminal the tests are started from
for name in ("NO_COLOR", "FORCE_COLOR", "KMQ_NUM_THREADS", "SOURCE_DATE_EPOCH"):
    os.environ.pop(name, None)

MOST_WORKERS = 4  # each compiles and loads kernels of its own


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Ask pytest-xdist for workers, unless somebody says what to run, or how.

    A worker asks for none, nor does pytest that a test starts: each would start others.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    option = config.option
    is_whole = config.args_source is config.ArgsSource.TESTPATHS and not option.keyword
    if is_whole and getattr(option, "numprocesses", 0) is None and not option.collectonly:
        option.numprocesses = "auto"
        option.maxprocesses = MOST_WORKERS
        option.dist = "loadfile"
