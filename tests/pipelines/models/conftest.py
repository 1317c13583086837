"""One thread a fit, as in a worker: threads that wait for each other take minutes."""

from collections.abc import Iterator

import pytest
import sklearn.ensemble  # noqa: F401 - its threads can be told only once they are there
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Hold every library to one thread."""
    with threadpool_limits(1):
        yield
