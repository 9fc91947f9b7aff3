"""The whole suite runs on several cores; tests that are named run in one process."""

import pytest

MOST_WORKERS = 4  # each compiles and loads kernels of its own


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Ask pytest-xdist for workers, unless somebody says what to run, or how."""
    option = config.option
    is_whole = config.args_source is config.ArgsSource.TESTPATHS and not option.keyword
    if is_whole and getattr(option, "numprocesses", 0) is None and not option.collectonly:
        option.numprocesses = "auto"
        option.maxprocesses = MOST_WORKERS
        option.dist = "loadfile"
