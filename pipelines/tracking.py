"""Runs, models and who is champion: everything that is asked of MLflow."""

import hashlib
import json
import logging
import os
import queue
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pipelines.errors import MissingError, ProjectError, ServiceError, TidegateError
from pipelines.ledger import Ledger, TableStorage, TagStorage, account
from pipelines.modelfile import (
    ANSWERS,
    EXAMPLE,
    LEARNED,
    MODEL,
    REFERENCE,
    TRUSTED_TYPES,
    Candidate,
    read_candidate,
)

if TYPE_CHECKING:
    import mlflow.entities
    import pandas as pd
    from mlflow import MlflowClient
    from numpy.typing import NDArray
    from sklearn.model_selection import FixedThresholdClassifier
    from sklearn.pipeline import Pipeline

    from pipelines.learned import Learned
    from pipelines.sweep.trial import Trial

Status = Literal["FINISHED", "FAILED", "KILLED"]

REACH_SECONDS = 5.0
"""How long a tracking server or its database may take to say that it is there."""

_MODEL_LIBRARIES = ("mlflow", "scikit-learn", "skops", "numpy", "scipy", "pandas")
_SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks")

# MLflow refuses more: see the limits in mlflow/utils/validation.py.
_MOST_METRICS = 800  # with the parameters and tags of a request, 1,000
_MOST_PARAMS = 100
_LONGEST_PARAM = 6_000
_LONGEST_TAG = 8_000
_LONGEST_NAME = 250
_LONGEST_DIGEST = 36
_NOT_IN_A_NAME = re.compile(r"[^\w\-. /]")

_NOTE = "mlflow.note.content"
_PARENT = "mlflow.parentRunId"
_KIND = "tidegate.kind"
_CANDIDATE = "tidegate.candidate"

CHECKSUM = "tidegate.sha256"
"""Tag of a version: SHA-256 of its model file when it was registered."""


class TrackingSettings(BaseModel):
    """Where runs, models and reports are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str = Field(
        ".tidegate", min_length=1, description="Folder of all local state, below the project's."
    )
    uri: str | None = Field(
        None,
        description="MLflow store: a database URL or a server's address; "
        "by default a SQLite file in the folder above.",
    )
    experiment: str | None = Field(
        None, min_length=1, description="MLflow experiment; by default the model's name."
    )
    artifacts: str | None = Field(
        None,
        min_length=1,
        description="Folder or URL of a new experiment's models and reports; "
        "by default below the folder above, or where the server puts them.",
    )

    @field_validator("uri")
    @classmethod
    def _check_uri(cls, uri: str | None) -> str | None:
        if uri is not None and _scheme(uri) not in _SCHEMES:
            raise ValueError(
                "a store is a database URL or a server's address, such as "
                "sqlite:///runs.db or http://127.0.0.1:5000"
            )
        return uri


@dataclass(frozen=True)
class Run:
    """A run as it was when it was read.

    Parameters
    ----------
    run_id, name : str
    status : str
        RUNNING, FINISHED, FAILED or KILLED.
    tags, params : mapping of str to str
    metrics : mapping of str to float
        Each at its last step.
    start_time, end_time : datetime or None
        In UTC.
    """

    run_id: str
    name: str
    status: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    start_time: datetime | None
    end_time: datetime | None


@dataclass(frozen=True)
class Version:
    """A registered version of a model.

    Parameters
    ----------
    name, version : str
    run_id : str
        The run that trained it.
    tags : mapping of str to str
    created : datetime or None
        In UTC.
    """

    name: str
    version: str
    run_id: str
    tags: Mapping[str, str]
    created: datetime | None


class Tracker:
    """One MLflow store and one experiment in it.

    Its methods may be called from any thread. `log_trial` only queues; one background thread
    writes trials in the order in which they came, so that a sweep never waits for the disk.
    Every method may raise `ServiceError`: the store, its server or its disk did not do its
    part.

    Parameters
    ----------
    client : MlflowClient
    uri : str
        The store; a password in it is not shown by `uri`.
    experiment_id : str
    """

    def __init__(self, client: "MlflowClient", uri: str, experiment_id: str) -> None:
        self._client = client
        self._uri = uri
        self._writer = _Writer(self._write_trial)
        self.experiment_id = experiment_id

    @property
    def uri(self) -> str:
        """The store's address, without a password."""
        return _masked(self._uri)

    @classmethod
    def open(cls, settings: TrackingSettings, folder: Path, experiment: str) -> Self:
        """Open the store and the experiment, and make them when they are new.

        Parameters
        ----------
        settings : TrackingSettings
        folder : Path
            The project's.
        experiment : str
            Name to use when the settings have none.

        Raises
        ------
        ServiceError
            The store cannot be made or opened, or its server does not answer.
        ProjectError
            The experiment was deleted, or keeps its artifacts elsewhere.
        """
        state = (folder / settings.folder).resolve()
        uri = _absolute(settings.uri or f"sqlite:///{state / 'mlflow.db'}", folder)
        _set_environment()
        with _asking(uri, "The tracking store opens."):
            if _scheme(uri) in ("http", "https"):
                _reach_server(uri)
            elif _scheme(uri) == "sqlite":
                _prepare(Path(uri.removeprefix("sqlite:///")))
            elif _scheme(uri) != "databricks":
                _reach_database(uri)
            client = _client(uri)
            artifacts = _artifacts(settings, folder, state, uri)
            name = settings.experiment or experiment
            return cls(client, uri, _experiment(client, name, artifacts, settings, state))

    def start(self, name: str, *, tags: Mapping[str, str]) -> str:
        """Open a run and return its id."""
        with self._asking("A run is opened."):
            run = self._client.create_run(
                self.experiment_id, run_name=name, tags=_tags({**_origin(), _KIND: "run", **tags})
            )
        return str(run.info.run_id)

    def log_dataset(
        self,
        run_id: str,
        frame: "pd.DataFrame",
        *,
        name: str,
        target: str,
        fingerprint: str,
        origin: str,
        context: str,
    ) -> None:
        """Record which rows a run took in; their values stay where they are.

        Parameters
        ----------
        run_id : str
        frame : DataFrame
            Read for its shape and types.
        name, target : str
        fingerprint : str
            Of the whole table.
        origin : str
            Where the table came from, without a password.
        context : str
            What the rows were for, such as ``training``.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        columns = [
            {"type": _type_name(dtype), "name": str(column), "required": True}
            for column, dtype in frame.dtypes.items()
        ]
        size = {"num_rows": len(frame), "num_elements": int(frame.size)}
        dataset = Dataset(
            name=name[:_LONGEST_NAME],
            # The context is in the digest since MLflow keeps one record of a digest, and one
            # context of it in a run.
            digest=f"{fingerprint[:8]}-{context}"[:_LONGEST_DIGEST],
            source_type="local" if "://" not in origin else origin.split(":")[0],
            source=json.dumps({"uri": origin}),
            schema=json.dumps({"mlflow_colspec": columns}),
            profile=json.dumps({**size, "target": target, "fingerprint": fingerprint}),
        )
        tag = InputTag("mlflow.data.context", context)
        with self._asking("The data is named in its run."):
            self._client.log_inputs(run_id, [DatasetInput(dataset, [tag])])

    def log_trial(self, run_id: str, trial: "Trial") -> None:
        """Queue a trial to be logged as a run below ``run_id``."""
        self._writer.put((run_id, trial, _now()))

    def flush(self) -> None:
        """Return once every queued trial is written.

        Raises
        ------
        ServiceError
            One could not be; those queued behind it are lost too.
        """
        self._writer.flush()

    def _write_trial(self, job: "tuple[str, Trial, int]") -> None:
        from mlflow.entities import Metric, Param

        parent, trial, ended = job
        tags = _tags(
            {
                **_origin(),
                _KIND: "trial",
                _PARENT: parent,
                "tidegate.trial": str(trial.number),
                "tidegate.family": trial.family,
                **({"tidegate.error": trial.error} if trial.error else {}),
            }
        )
        last = {"score": trial.score, "train_score": trial.train_score, "seconds": trial.seconds}
        metrics = [Metric(name, float(v), ended, 0) for name, v in last.items() if v is not None]
        if len(trial.curve) > 1:
            for point in trial.curve:
                metrics += [
                    Metric("epoch_score", point.score, ended, point.epoch),
                    Metric("epoch_train_score", point.train_score, ended, point.epoch),
                    Metric("epoch_loss", point.loss, ended, point.epoch),
                ]
        params = [Param(*pair) for pair in _params({"family": trial.family, **trial.params})]
        with self._asking("Each trial is logged as a run."):
            child = self._client.create_run(
                self.experiment_id,
                start_time=ended - round(1000 * trial.seconds),
                tags=tags,
                run_name=f"trial {trial.number:03d} {trial.family}",
            ).info.run_id
            self._log(child, metrics=metrics, params=params)
            self._client.set_terminated(child, trial.state, end_time=ended)

    def log_metrics(self, run_id: str, metrics: Mapping[str, float | None]) -> None:
        """Log numbers of a whole run; a None is left out."""
        from mlflow.entities import Metric

        now = _now()
        listed = [Metric(_name(k), float(v), now, 0) for k, v in metrics.items() if v is not None]
        with self._asking("Metrics are logged."):
            self._log(run_id, metrics=listed)

    def log_params(self, run_id: str, params: Mapping[str, object]) -> None:
        """Log settings of a run; MLflow keeps the first value of each."""
        from mlflow.entities import Param

        listed = [Param(*pair) for pair in _params(params)]
        with self._asking("Parameters are logged."):
            self._log(run_id, params=listed)

    def set_tags(self, run_id: str, tags: Mapping[str, object]) -> None:
        """Set tags of a run; a value that is too long is cut."""
        from mlflow.entities import RunTag

        listed = [RunTag(*pair) for pair in _tags(tags).items()]
        with self._asking("Tags are set."):
            self._log(run_id, tags=listed)

    def describe(self, run_id: str, markdown: str) -> None:
        """Set the page that MLflow shows first for a run.

        The whole page is kept as ``page.md``; MLflow takes 8,000 characters, so a longer one
        is cut at a line there.
        """
        self.log_files(run_id, {"page.md": markdown})
        self.set_tags(run_id, {_NOTE: _cut_page(markdown)})

    def log_files(self, run_id: str, files: Mapping[str, bytes | str | Path]) -> None:
        """Keep files with a run.

        Parameters
        ----------
        run_id : str
        files : mapping
            Path among the run's artifacts to content, or to a file or folder to copy.
        """
        with self._asking("Reports are kept with their run."), _scratch() as folder:
            for path, content in files.items():
                _put(folder / path, content)
            self._client.log_artifacts(run_id, str(folder))

    def read_file(self, run_id: str, path: str) -> bytes | None:
        """Return a file that was kept with a run; None where there is none of that path."""
        with self._asking("A report is read."), _scratch() as folder:
            folder_there = path.rpartition("/")[0]
            kept = self._client.list_artifacts(run_id, folder_there or None)
            if path not in {file.path for file in kept}:
                return None
            return Path(self._client.download_artifacts(run_id, path, str(folder))).read_bytes()

    def log_candidate(
        self,
        run_id: str,
        model: "Pipeline | FixedThresholdClassifier",
        *,
        example: "pd.DataFrame",
        predictions: "NDArray[Any]",
        reference: "pd.DataFrame",
        learned: "Learned",
    ) -> str:
        """Log a fitted model as the run's candidate.

        The model file is skops', which names no code to run. Its signature is that of the
        example: numbers are doubles, which may be missing, everything else is text.

        Parameters
        ----------
        run_id : str
        model : Pipeline, or FixedThresholdClassifier around one
            Of sklearn's own parts, so that it loads wherever MLflow does.
        example : DataFrame
            A few rows as the model takes them.
        predictions : ndarray of shape (n_rows,)
            What it says to them.
        reference : DataFrame
            Rows that later data is compared with, kept beside the model.
        learned : Learned
            Which rows it was fitted on or chosen by, kept beside it too.

        Returns
        -------
        str
            The model's URI.
        """
        from mlflow import sklearn as flavor
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model

        with self._asking("The candidate is logged."):
            logged = self._client.create_logged_model(
                self.experiment_id, name="candidate", source_run_id=run_id
            )
            try:
                with _scratch() as folder:
                    path = folder / "model"
                    flavor.save_model(
                        model,
                        str(path),
                        mlflow_model=Model(
                            artifact_path=logged.artifact_location,
                            run_id=run_id,
                            model_uuid=logged.model_id,
                            model_id=logged.model_id,
                        ),
                        signature=_signature(example, predictions),
                        input_example=example,
                        # MLflow would import everything anew to find these out.
                        pip_requirements=[f"{x}=={installed_version(x)}" for x in _MODEL_LIBRARIES],
                        serialization_format=flavor.SERIALIZATION_FORMAT_SKOPS,
                        skops_trusted_types=list(TRUSTED_TYPES),
                    )
                    _storable(example).to_parquet(path / EXAMPLE, index=False)
                    _storable(reference).to_parquet(path / REFERENCE, index=False)
                    (path / ANSWERS).write_text(json.dumps(predictions.tolist()))
                    learned.save(path / LEARNED)
                    self._client.log_model_artifacts(logged.model_id, str(path))
            except BaseException:
                with suppress(Exception):
                    self._client.finalize_logged_model(logged.model_id, "FAILED")
                raise
            # A run names its candidate only once that is whole.
            self._client.finalize_logged_model(logged.model_id, "READY")
            self._client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
            # MLflow lists a run's models in no order.
            self._client.set_tag(run_id, _CANDIDATE, logged.model_id)
        return f"models:/{logged.model_id}"

    def candidate(self, run_id: str) -> Candidate:
        """Load the model that a run logged last.

        Raises
        ------
        MissingError
            There is no such run, or it has logged no model.
        ModelError
            Its files cannot be read back.
        """
        return self._load(self._location(self._model_id(run_id)))

    def load_version(self, name: str, version_or_alias: str) -> Candidate:
        """Load a registered model.

        Raises
        ------
        MissingError
            There is no such version or alias.
        ModelError
            Its files cannot be read back.
        """
        return self._load(self._version_location(name, version_or_alias))

    def candidate_folder(self, run_id: str) -> AbstractContextManager[Path]:
        """Give the files of the model that a run logged last, for the length of a block.

        Raises
        ------
        MissingError
            There is no such run, or it has logged no model.
        """
        return self._folder(self._location(self._model_id(run_id)))

    def version_folder(self, name: str, version_or_alias: str) -> AbstractContextManager[Path]:
        """Give the files of a registered model, for the length of a block.

        Raises
        ------
        MissingError
            There is no such version or alias.
        """
        return self._folder(self._version_location(name, version_or_alias))

    def reference(self, name: str, version_or_alias: str) -> "pd.DataFrame":
        """Return the rows that were kept beside a registered model."""
        import pandas as pd

        location = self._version_location(name, version_or_alias)
        with self._asking("The reference sample is read."), _local(location, self._uri) as folder:
            return pd.read_parquet(folder / REFERENCE)

    def register(self, run_id: str, name: str, tags: Mapping[str, object]) -> str:
        """Give a run's candidate a version and return it; no alias is moved.

        The version is tagged with its model file's `CHECKSUM`. A run that has a version
        under that name already keeps it, and the first checksum with it, so that a gate which
        was cut short can be asked again.

        Raises
        ------
        MissingError
            There is no such run, or it has logged no model.
        """
        import mlflow

        model_id = self._model_id(run_id)
        source, kept = f"models:/{model_id}", _tags(tags)
        with self._asking("The candidate is registered."):
            # The registry looks a logged model up in the process's own store, whatever the
            # client was given.
            mlflow.set_tracking_uri(self._uri)
            with _tolerating("RESOURCE_ALREADY_EXISTS"):
                self._client.create_registered_model(name)
            for found in self._client.search_model_versions(f"run_id = {_quoted(run_id)}"):
                if found.name == name and found.source == source:
                    for key, value in kept.items():
                        self._client.set_model_version_tag(name, str(found.version), key, value)
                    return str(found.version)
            made = self._client.create_model_version(
                name,
                source=source,
                run_id=run_id,
                model_id=model_id,
                tags={**kept, CHECKSUM: self._checksum(self._location(model_id))},
                description=f"Candidate of run {run_id}.",
            )
        return str(made.version)

    def checksum(self, name: str, version: str) -> str:
        """Return the SHA-256 of a registered model's file as it is now, in hexadecimal.

        Raises
        ------
        MissingError
            There is no such version.
        ServiceError
            The file cannot be read.
        """
        return self._checksum(self._version_location(name, version))

    def version(self, name: str, version: str) -> Version:
        """Return a registered version.

        Raises
        ------
        MissingError
            There is none of that number.
        """
        # Of what is no such number some stores think that the machine is at fault.
        if re.fullmatch(r"[0-9]{1,9}", version):
            with self._asking("The version is read."), _tolerating("RESOURCE_DOES_NOT_EXIST"):
                return self._read_version(name, version)
        raise MissingError(
            "The version is registered.",
            found=f"no version {version[:64]!r} of {name!r} in {self.uri}",
            next_move="see the versions with `tidegate history`",
        )

    def set_version_tags(self, name: str, version: str, tags: Mapping[str, object]) -> None:
        """Set tags of a registered version; a value that is too long is cut."""
        with self._asking("The version is tagged."):
            for key, value in _tags(tags).items():
                self._client.set_model_version_tag(name, version, key, value)

    def aliases(self, name: str) -> dict[str, str]:
        """Return which version each alias of a model names; none where there is no model."""
        with self._asking("The aliases are read."), _tolerating("RESOURCE_DOES_NOT_EXIST"):
            return self._aliases(name)
        return {}

    def point(self, name: str, alias: str, version: str | None) -> None:
        """Let an alias name a version, in one step; with None it names nothing more.

        The champion's alias is moved by `pipelines.promotion` alone, which sees that nobody
        else is moving it and writes it down.
        """
        with self._asking("The alias is moved."):
            if version is None:
                self._client.delete_registered_model_alias(name, alias)
            else:
                self._client.set_registered_model_alias(name, alias, version)

    def champion(self, name: str, alias: str) -> Version | None:
        """Return the version that an alias names; None when there is none yet.

        Raises
        ------
        ServiceError
            There is one, or there may be, and it cannot be read.
        """
        wanted: str | None = None
        with self._asking("The champion is looked up."):
            with _tolerating("RESOURCE_DOES_NOT_EXIST"):
                wanted = self._aliases(name).get(alias)
            # Out here an absence is an error: the alias names a version that is not there.
            return None if wanted is None else self._read_version(name, wanted)

    def ledger(self, name: str) -> Ledger:
        """Return the ledger of a registered model, which need not be there yet."""
        if _scheme(self._uri) not in ("http", "https", "databricks"):
            return Ledger(name, TableStorage(self._uri, name, self._asking))

        def read() -> Mapping[str, str]:
            with self._asking("The ledger is read."), _tolerating("RESOURCE_DOES_NOT_EXIST"):
                tags: dict[str, str] = self._client.get_registered_model(name).tags
                return tags
            return {}

        def write(key: str, value: str) -> None:
            with self._asking("What happened is written down."):
                with _tolerating("RESOURCE_DOES_NOT_EXIST"):
                    self._client.set_registered_model_tag(name, key, value)
                    return
                with _tolerating("RESOURCE_ALREADY_EXISTS"):
                    self._client.create_registered_model(name)
                self._client.set_registered_model_tag(name, key, value)

        return Ledger(name, TagStorage(read, write))

    def run(self, run_id: str) -> Run:
        """Return a run as it is now.

        Raises
        ------
        MissingError
            There is no such run.
        """
        return _run(self._get_run(run_id))

    def latest(self, tags: Mapping[str, str]) -> Run | None:
        """Return the newest run that is no trial and has all these tags; None without one."""
        wanted = {_KIND: "run", **tags}
        said = " and ".join(f"tags.`{key}` = {_quoted(v)}" for key, v in wanted.items())
        with self._asking("Runs are searched."):
            found = self._client.search_runs(
                [self.experiment_id], said, max_results=1, order_by=["attributes.start_time DESC"]
            )
        return _run(found[0]) if found else None

    def finish(self, run_id: str, status: Status) -> None:
        """Close a run, and those of its trials that are still open.

        Raises
        ------
        ServiceError
            The run was to be FINISHED and a trial could not be written; it is FAILED then.
        """
        lost: ServiceError | None = None
        try:
            self.flush()
        except ServiceError as err:
            lost = err
        kept = "FAILED" if lost is not None and status == "FINISHED" else status
        with self._asking("The run is closed."):
            open_trials = self._client.search_runs(
                [self.experiment_id],
                f"tags.`{_PARENT}` = {_quoted(run_id)} and attributes.status = 'RUNNING'",
            )
            for trial in open_trials:
                self._client.set_terminated(
                    trial.info.run_id, "KILLED" if kept == "KILLED" else "FAILED"
                )
            self._client.set_terminated(run_id, kept)
        if lost is not None and status == "FINISHED":
            raise lost

    def start_pages(self, *, host: str, port: int, folder: Path) -> "subprocess.Popen[bytes]":
        """Start MLflow's own server of this store, and return without waiting for it.

        Parameters
        ----------
        host : str
        port : int
        folder : Path
            Where it works, and logs to ``mlflow-ui.log``.

        Raises
        ------
        ProjectError
            The store is a server, which has pages of its own.
        """
        if _scheme(self._uri) in ("http", "https"):
            raise ProjectError(
                "MLflow's pages are started here for a database.",
                found=f"tracking.uri is the server {self.uri}",
                next_move=f"open {self.uri} in a browser",
            )
        with (folder / "mlflow-ui.log").open("wb") as log:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "mlflow", "server"),
                    *("--host", host, "--port", str(port), "--workers", "1"),
                ],
                env={
                    **os.environ,
                    # Not on the command line, where any user of the machine could read a password.
                    "MLFLOW_BACKEND_STORE_URI": self._uri,
                    # Eight processes more, for jobs that nothing here asks for.
                    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                },
                cwd=folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _asking(self, rule: str) -> AbstractContextManager[None]:
        return _asking(self._uri, rule)

    def _log(
        self,
        run_id: str,
        *,
        metrics: "Sequence[mlflow.entities.Metric]" = (),
        params: "Sequence[mlflow.entities.Param]" = (),
        tags: "Sequence[mlflow.entities.RunTag]" = (),
    ) -> None:
        """Log in as few requests as MLflow takes, which is one as a rule."""
        while metrics or params or tags:
            self._client.log_batch(
                run_id, metrics[:_MOST_METRICS], params[:_MOST_PARAMS], tags[:_MOST_PARAMS]
            )
            metrics, params, tags = (
                metrics[_MOST_METRICS:],
                params[_MOST_PARAMS:],
                tags[_MOST_PARAMS:],
            )

    def _get_run(self, run_id: str) -> "mlflow.entities.Run":
        with (
            self._asking("The run is read."),
            _tolerating("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"),
        ):
            return self._client.get_run(run_id)
        raise MissingError(
            "The run is in the tracking store.",
            found=f"no run {run_id[:64]!r} in {self.uri}",
            next_move="look it up with `tidegate status` or `tidegate ui`",
        )

    def _model_id(self, run_id: str) -> str:
        model_id = self._get_run(run_id).data.tags.get(_CANDIDATE)
        if model_id is None:
            raise MissingError(
                "The run has logged a candidate.",
                found=f"run {run_id} has no model",
                next_move="train one with `tidegate train`",
            )
        return str(model_id)

    def _location(self, model_id: str) -> str:
        with self._asking("The model is looked up."):
            return str(self._client.get_logged_model(model_id).artifact_location)

    def _version_location(self, name: str, version_or_alias: str) -> str:
        with (
            self._asking("The registered model is looked up."),
            _tolerating("RESOURCE_DOES_NOT_EXIST"),
        ):
            version = version_or_alias
            if not version.isdecimal():
                version = self._aliases(name).get(version_or_alias, "")
            if version:
                return str(self._client.get_model_version_download_uri(name, version))
        raise MissingError(
            "The model is registered.",
            found=f"no {name!r} with version or alias {version_or_alias!r} in {self.uri}",
            next_move="deploy one with `tidegate run`, or see `tidegate status`",
        )

    @contextmanager
    def _folder(self, location: str) -> Iterator[Path]:
        with ExitStack() as stack:
            # What the caller's block raises is its own.
            with self._asking("The model is fetched."):
                folder = stack.enter_context(_local(location, self._uri))
            yield folder

    def _load(self, location: str) -> Candidate:
        with self._folder(location) as folder, self._asking("The model is read."):
            return read_candidate(folder, location)

    def _aliases(self, name: str) -> dict[str, str]:
        aliases = self._client.get_registered_model(name).aliases
        return {alias: str(version) for alias, version in aliases.items()}

    def _checksum(self, location: str) -> str:
        with (
            self._asking("The model file is read."),
            _local(location, self._uri) as folder,
            (folder / MODEL).open("rb") as file,
        ):
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _read_version(self, name: str, version: str) -> Version:
        found = self._client.get_model_version(name, version)
        return Version(
            name, version, found.run_id or "", found.tags, _time(found.creation_timestamp)
        )


class _Writer:
    """One background thread that writes what is queued, in order.

    It is a daemon: whoever queues also flushes, and a process that is killed loses what it
    had not written, as it would have anyway.
    """

    def __init__(self, write: Callable[["tuple[str, Trial, int]"], None]) -> None:
        self._write = write
        self._queue: queue.Queue[tuple[str, Trial, int]] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._failure: TidegateError | None = None
        self._lost = 0

    def put(self, job: "tuple[str, Trial, int]") -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="trial-writer", daemon=True)
            self._thread.start()
        self._queue.put(job)

    def flush(self) -> None:
        self._queue.join()
        failure, lost = self._failure, self._lost
        self._failure, self._lost = None, 0
        if failure is not None:
            raise ServiceError(
                failure.rule,
                found=f"{lost} not written: {failure.found}",
                next_move=failure.next_move,
            ) from failure

    def _work(self) -> None:
        while True:
            job = self._queue.get()
            try:
                # After a failure each further one would wait for the same time-outs.
                if self._failure is None:
                    self._write(job)
                else:
                    self._lost += 1
            except TidegateError as err:
                self._failure, self._lost = err, 1
            except Exception as err:
                # A thread that died would leave flush waiting for ever.
                self._failure = ServiceError("Each trial is logged as a run.", found=repr(err))
                self._lost = 1
            finally:
                self._queue.task_done()


def _set_environment() -> None:
    """Say what MLflow reads when it is imported."""
    for name, value in (
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
        ("DO_NOT_TRACK", "true"),
        # By default a server that went away is asked for minutes, each time.
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"),
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "30"),
        ("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false"),
        ("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"),
    ):
        os.environ.setdefault(name, value)


def _client(uri: str) -> "MlflowClient":
    from mlflow import MlflowClient

    # It logs, with a traceback, what it also raises.
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    return MlflowClient(uri, registry_uri=uri)


@contextmanager
def _asking(uri: str, rule: str) -> Iterator[None]:
    """Turn whatever MLflow, its database or the disk raises into a ServiceError."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except TidegateError:
        raise
    except (MlflowException, SQLAlchemyError, sqlite3.Error, ImportError, OSError) as err:
        found = _first_line(_cause(err))
        raise ServiceError(
            rule, found=f"{_masked(uri)}: {_masked(found)}", next_move=_next_move(uri, found)
        ) from err


@contextmanager
def _tolerating(*codes: str) -> Iterator[None]:
    """Leave the block quietly when MLflow answers with one of these error codes."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as err:
        if err.error_code not in codes:
            raise


def _next_move(uri: str, found: str) -> str:
    if any(sign in found for sign in ("full", "No space", "too large", "disk")):
        return "see that the disk has room, then run the command again"
    if any(sign in found for sign in ("readonly", "ermission", "unable to open", "ot a directory")):
        return "make the folder writable, or name another in [tracking] folder"
    if "No module named" in found:
        return "install that driver beside tidegate, or name another in tracking.uri"
    if _scheme(uri) == "sqlite":
        return "see that the file is whole and of this MLflow, then run the command again"
    return "see that tracking.uri is right and its server up, then run the command again"


def _cause(err: BaseException) -> BaseException:
    """Return the database driver's own error, which MLflow and SQLAlchemy wrap in prose."""
    link: BaseException | None = err
    while link is not None:
        driver: BaseException | None = getattr(link, "orig", None)
        if driver is not None:
            return driver
        link = link.__cause__
    return err


def _first_line(err: BaseException) -> str:
    lines = str(err).strip().splitlines() or [type(err).__name__]
    return lines[0][:300]


def _scheme(uri: str) -> str:
    return uri.split("://")[0].split("+")[0] if "://" in uri else ""


def _masked(uri: str) -> str:
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", uri)


def _absolute(uri: str, folder: Path) -> str:
    """Anchor a SQLite file at the project: MLflow's own anchor is the working directory."""
    if _scheme(uri) != "sqlite":
        return uri
    head, path = uri.split(":///", 1) if ":///" in uri else (uri, "")
    return f"{head}:///{(folder / path).resolve()}"


def _prepare(path: Path) -> None:
    """Make a SQLite file whose readers and one writer do not wait for each other.

    MLflow makes a new store in dozens of steps that two processes cannot take at once, and
    that an end in their midst leaves broken. Here they are taken in memory, and what comes
    of them is copied in one transaction.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=20.0, isolation_level=None)) as database:
        # The mode is kept in the file; MLflow never sets it. A file system without
        # shared memory refuses, and everything works, slower.
        (mode,) = database.execute("PRAGMA journal_mode").fetchone()
        if mode != "wal":
            database.execute("PRAGMA journal_mode = WAL")
        if not _is_empty(database):
            return
        _, *statements, _ = _schema()
        database.execute("BEGIN IMMEDIATE")
        if _is_empty(database):
            for statement in statements:
                database.execute(statement)
        database.execute("COMMIT")


def _is_empty(database: sqlite3.Connection) -> bool:
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return int(tables) == 0


@cache
def _schema() -> tuple[str, ...]:
    import sqlalchemy
    from mlflow.store.db import utils
    from sqlalchemy.pool import StaticPool

    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    memory = sqlalchemy.create_engine("sqlite://", poolclass=StaticPool)
    utils._initialize_tables(memory)  # type: ignore[no-untyped-call]
    connection = cast("sqlite3.Connection", memory.raw_connection().driver_connection)
    statements = tuple(connection.iterdump())
    memory.dispose()
    return statements


def _reach_server(uri: str) -> None:
    parts = urlsplit(uri)
    page = parts._replace(
        netloc=parts.netloc.rpartition("@")[2], path=parts.path.rstrip("/") + "/health"
    )
    try:
        urllib.request.urlopen(page.geturl(), timeout=REACH_SECONDS).close()
    except urllib.error.HTTPError as err:
        # Any other answer is an answer; whether we are let in shows at the first request.
        if err.code >= 500:
            raise


def _reach_database(uri: str) -> None:
    """Connect once: MLflow itself tries ten times, for more than a minute."""
    import sqlalchemy

    limit = {"connect_timeout": int(REACH_SECONDS)} if _scheme(uri) != "mssql" else {}
    engine = sqlalchemy.create_engine(uri, connect_args=limit)
    engine.connect().close()
    engine.dispose()


def _artifacts(settings: TrackingSettings, folder: Path, state: Path, uri: str) -> str | None:
    """Return the URL under which a new experiment keeps its files; None: the server's own."""
    if settings.artifacts is not None:
        if "://" in settings.artifacts:
            return settings.artifacts
        return (folder / settings.artifacts).resolve().as_uri()
    if _scheme(uri) in ("http", "https", "databricks"):
        return None
    return (state / "artifacts").as_uri()


def _experiment(
    client: "MlflowClient",
    name: str,
    artifacts: str | None,
    settings: TrackingSettings,
    state: Path,
) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        with _tolerating("RESOURCE_ALREADY_EXISTS"):
            return str(client.create_experiment(name, artifact_location=artifacts))
        found = client.get_experiment_by_name(name)
    if found.lifecycle_stage != "active":
        raise ProjectError(
            "The experiment takes new runs.",
            found=f"{name!r} was deleted",
            next_move=f"restore it with `mlflow experiments restore -x {found.experiment_id}`, "
            "or name another in [tracking] experiment",
        )
    ours = settings.uri is None and settings.artifacts is None
    if ours and found.artifact_location != artifacts:
        raise ProjectError(
            "A store keeps its models and reports where it was made.",
            found=f"{state} was made elsewhere: its files are in {found.artifact_location}",
            next_move="move the folder back, remove it to start anew, "
            "or name the place of its files in [tracking] artifacts",
        )
    return str(found.experiment_id)


def _origin() -> dict[str, str]:
    return {
        "mlflow.user": account(),
        "mlflow.source.name": "tidegate",
        "mlflow.source.type": "LOCAL",
        "tidegate.version": installed_version("tidegate"),
    }


def _now() -> int:
    return time.time_ns() // 1_000_000


def _time(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


def _run(found: "mlflow.entities.Run") -> Run:
    info, data = found.info, found.data
    return Run(
        info.run_id,
        info.run_name or "",
        info.status,
        data.tags,
        data.params,
        data.metrics,
        _time(info.start_time),
        _time(info.end_time),
    )


def _name(name: str) -> str:
    """Return a key that MLflow takes: a class label in one may hold any character."""
    return _NOT_IN_A_NAME.sub("_", name)[:_LONGEST_NAME]


def _tags(tags: Mapping[str, object]) -> dict[str, str]:
    return {_name(key): _cut(str(value), _LONGEST_TAG) for key, value in tags.items()}


def _params(params: Mapping[str, object]) -> list[tuple[str, str]]:
    return [(_name(key), _cut(str(value), _LONGEST_PARAM)) for key, value in params.items()]


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _cut_page(markdown: str) -> str:
    if len(markdown) <= _LONGEST_TAG:
        return markdown
    rest = "\n\n*The rest is in page.md, among the artifacts.*"
    head = markdown[: _LONGEST_TAG - len(rest)]
    return head[: head.rfind("\n")] + rest


def _quoted(value: str) -> str:
    """Quote a value for MLflow's search, which knows no escapes."""
    return f'"{value}"' if "'" in value else f"'{value}'"


def _type_name(dtype: Any) -> str:
    kinds = {"i": "long", "u": "long", "f": "double", "b": "boolean", "M": "datetime"}
    return kinds.get(dtype.kind, "string")


def _signature(example: "pd.DataFrame", predictions: "NDArray[Any]") -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    inputs: list[ColSpec | TensorSpec] = [
        ColSpec("double" if dtype.kind in "iufb" else "string", str(column))
        for column, dtype in example.dtypes.items()
    ]
    return ModelSignature(Schema(inputs), Schema([ColSpec(_type_name(predictions.dtype))]))


def _storable(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the frame with its objects as text: a Parquet column has one type."""
    objects = [column for column, dtype in frame.dtypes.items() if dtype.kind == "O"]
    return frame.astype(dict.fromkeys(objects, "str"))


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
        yield Path(folder)


def _put(path: Path, content: bytes | str | Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    elif content.is_dir():
        shutil.copytree(content, path)
    else:
        shutil.copyfile(content, path)


@contextmanager
def _local(location: str, uri: str) -> Iterator[Path]:
    """Give the files of a stored model: in place when they are on this machine."""
    parts = urlsplit(location)
    if parts.scheme in ("", "file"):
        yield Path(unquote(parts.path) if parts.scheme else location)
        return
    from mlflow.artifacts import download_artifacts

    with _scratch() as folder:
        yield Path(
            download_artifacts(artifact_uri=location, dst_path=str(folder), tracking_uri=uri)
        )
