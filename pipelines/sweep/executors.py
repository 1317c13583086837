"""Where trials are fitted, by the settings."""

from collections.abc import Mapping

from pipelines.models.family import Family
from pipelines.sweep.settings import TrainSettings
from pipelines.sweep.workers import Executor, start_workers


def start_executor(settings: TrainSettings, families: Mapping[str, Family]) -> Executor:
    """Begin to get the workers ready: those of a Dask cluster where one is named, else local.

    Raises
    ------
    ProjectError
        A cluster is named, and Dask is not installed.
    ServiceError
        The scheduler does not answer, or has no workers.
    """
    if settings.dask is None:
        return start_workers(settings, families)
    from pipelines.sweep.cluster import Cluster

    return Cluster(settings.dask)
