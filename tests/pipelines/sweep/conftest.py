"""What the tests of the sweep share: one fork server, and one thread as in a worker."""

from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits

from pipelines.sweep.forkserver import ForkServer


@pytest.fixture(scope="session")
def server() -> Iterator[ForkServer]:
    """The libraries are loaded once for all sweeps of this folder."""
    modules = ["sklearn.neural_network", "sklearn.ensemble", "sklearn.linear_model"]
    started = ForkServer("pipelines.sweep.workers:work", modules)
    yield started
    started.close()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """A sum in another order is another sum, and the workers have one thread too."""
    with threadpool_limits(1):
        yield
