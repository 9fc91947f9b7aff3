"""Options and fixtures of the benchmarks; ``pytest benchmarks --benchmark-only`` runs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import pictures


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full",
        action="store_true",
        help="measure on all pictures of the corpus instead of a few (an hour or more)",
    )


def pytest_report_header(config: pytest.Config) -> str:
    folder = pictures.corpus_folder()
    if folder is None:
        return "corpus: not there ($KMQ_CORPUS names it); computed and bundled pictures instead"
    return f"corpus: {folder}, {'all pictures' if config.getoption('--full') else 'a few pictures'}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a benchmark that asks for a `photo`, `graphic` or `picture` each of them."""
    full = metafunc.config.getoption("--full")
    kinds: dict[str, Callable[[], list[pictures.Picture]]] = {
        "photo": lambda: pictures.photos(full=full),
        "graphic": lambda: pictures.graphics(full=full),
        "picture": lambda: pictures.photos(full=full) + (pictures.large() if full else []),
    }
    for name, choose in kinds.items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, choose(), ids=str)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let peers warn: of what they deprecate, or that they did not converge."""
    for item in (item for item in items if item.path.parent == pictures.FOLDER):
        item.add_marker(pytest.mark.filterwarnings("default"))


@pytest.fixture
def measure(benchmark: Any) -> Callable[..., Any]:
    """Return measure(contender, work, **facts): skip the absent, time `work`, note the facts."""

    def run(contender: Any, work: Callable[[], Any], **facts: Any) -> Any:
        pytest.importorskip(contender.package)
        benchmark.extra_info.update(contender=contender.name, **facts)
        return benchmark.pedantic(work, rounds=contender.rounds, iterations=1)

    return run
