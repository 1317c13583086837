"""Runs, models and who is champion: everything that is asked of MLflow."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pipelines.errors import MissingError, ProjectError, ServiceError
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
from pipelines.tracking import store
from pipelines.tracking.store import SCHEMES, asking, masked, scheme, tolerating
from pipelines.trials import Child, Delivery, Entry, Spool, entry_of, standing, table_of

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

_MODEL_LIBRARIES = ("mlflow", "scikit-learn", "skops", "numpy", "scipy", "pandas")

# MLflow refuses more: see the limits in mlflow/utils/validation.py.
_MOST_METRICS = 800  # with the parameters and tags of a request, 1,000
_MOST_PARAMS = 100
_LONGEST_PARAM = 6_000
_LONGEST_TAG = 8_000
_LONGEST_NAME = 250
_LONGEST_DIGEST = 36
_NOT_IN_A_NAME = re.compile(r"[^\w\-. /]")

_NOTE = "mlflow.note.content"
_TABLES = "mlflow.loggedArtifacts"
_PARENT = "mlflow.parentRunId"
_KIND = "tidegate.kind"
_CANDIDATE = "tidegate.candidate"

TRIALS_TABLE = "trials_table.json"
"""Artifact of a run: all its trials as one table."""

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
        if uri is not None and scheme(uri) not in SCHEMES:
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

    Its methods may be called from any thread. `log_trial` only queues; a thread behind it
    brings the trials to MLflow, so that a sweep never waits for that, and stops for no outage.
    Every other method may raise `ServiceError`: the store, its server or its disk did not do
    its part.

    Parameters
    ----------
    client : MlflowClient
    uri : str
        The store; a password in it is not shown by `uri`.
    experiment_id : str
    spool : Path
        Folder of the trials that are yet to be written.
    """

    def __init__(self, client: "MlflowClient", uri: str, experiment_id: str, spool: Path) -> None:
        self._client = client
        self._uri = uri
        self._spool = spool
        self._started: set[str] = set()
        self._deliveries: dict[str, Delivery] = {}
        self._opening = threading.Lock()
        self.experiment_id = experiment_id

    @property
    def uri(self) -> str:
        """The store's address, without a password."""
        return masked(self._uri)

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
        uri = store.absolute(settings.uri or f"sqlite:///{state / 'mlflow.db'}", folder)
        store.set_environment()
        with asking(uri, "The tracking store opens."):
            client = store.open_client(uri)
            artifacts = _artifacts(settings, folder, state, uri)
            name = settings.experiment or experiment
            ours = settings.uri is None and settings.artifacts is None
            found = store.open_experiment(client, name, artifacts, state if ours else None)
            return cls(client, uri, found, state / "spool")

    def start(self, name: str, *, tags: Mapping[str, str]) -> str:
        """Open a run and return its id."""
        with self._asking("A run is opened."):
            run = self._client.create_run(
                self.experiment_id, run_name=name, tags=_tags({**_origin(), _KIND: "run", **tags})
            )
        run_id = str(run.info.run_id)
        self._started.add(run_id)
        return run_id

    def reopen(self, run_id: str) -> None:
        """Let a run that did not finish go on; its trials that were not written are, behind.

        Raises
        ------
        MissingError
            There is no such run, or it is FINISHED or deleted.
        ServiceError
            Another process writes its trials.
        """
        info = self._get_run(run_id).info
        ended = "deleted" if info.lifecycle_stage != "active" else info.status
        if ended in ("deleted", "FINISHED"):
            raise MissingError(
                "A run that did not finish can go on.",
                found=f"run {run_id} is {ended}",
                next_move="train anew with `tidegate train`",
            )
        self._delivery(run_id)
        with self._asking("The run goes on."):
            self._client.update_run(run_id, status="RUNNING")

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

    def log_trial(self, run_id: str, trial: "Trial", *, always: bool = False) -> None:
        """Queue a trial to be logged as a run below ``run_id``.

        It is written down in the spool first, and written to MLflow once, however often the
        store goes away or a process dies on the way; told again as it was, nothing is written,
        and told as more than it was, its run is brought up to date. A run has at most
        `pipelines.trials.MAXIMUM_CHILDREN` of them: those that went beyond the first rung,
        finished or failed with a traceback, as they come; the others when the sweep is over,
        as far as there is room. All are in the table of `log_trials_table`.

        Parameters
        ----------
        run_id : str
        trial : Trial
        always : bool
            Whether it gets a run even beyond that number, as the best one should.

        Raises
        ------
        ServiceError
            Another process writes the trials of this run.
        """
        self._delivery(run_id).put(entry_of(trial, ended=_now(), always=always))

    def log_trials_table(self, run_id: str, trials: "Sequence[Trial]") -> None:
        """Keep all trials of a sweep that is over as one table, which MLflow shows as one.

        It replaces the one that was there. Trials that only fill what is left of the runs are
        written from now on.
        """
        if run_id in self._deliveries:
            self._deliveries[run_id].release()
        self.log_files(run_id, {TRIALS_TABLE: table_of(trials)})
        with self._asking("The trials are shown as a table."):
            tables = json.loads(self._get_run(run_id).data.tags.get(_TABLES, "[]"))
            table = {"path": TRIALS_TABLE, "type": "table"}
            if table not in tables:
                self._client.set_tag(run_id, _TABLES, json.dumps([*tables, table]))

    def deliver(self, run_id: str) -> int:
        """Write the trials of a run that a process before this one left, and say how many.

        Raises
        ------
        ServiceError
            One could not be written, or another process writes them.
        """
        if run_id not in self._deliveries and not self._spool_of(run_id).exists():
            return 0
        delivery = self._delivery(run_id)
        try:
            delivery.flush()
        finally:
            self._deliveries.pop(run_id).close()
        return delivery.delivered

    def flush(self) -> None:
        """Return once every queued trial is written.

        Raises
        ------
        ServiceError
            One could not be, for `pipelines.trials.PATIENCE_SECONDS`; it is in the spool.
        """
        for delivery in tuple(self._deliveries.values()):
            delivery.flush()

    def _spool_of(self, run_id: str) -> Path:
        return self._spool / f"{run_id}.jsonl"

    def _delivery(self, run_id: str) -> Delivery:
        with self._opening:
            if run_id not in self._deliveries:
                spool = Spool(self._spool_of(run_id))
                fresh = run_id in self._started
                self._started.discard(run_id)
                runs = _Children(self, run_id)
                self._deliveries[run_id] = Delivery(spool, runs, fresh=fresh)
            return self._deliveries[run_id]

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
            with tolerating("RESOURCE_ALREADY_EXISTS"):
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
            with self._asking("The version is read."), tolerating("RESOURCE_DOES_NOT_EXIST"):
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
        with self._asking("The aliases are read."), tolerating("RESOURCE_DOES_NOT_EXIST"):
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
            with tolerating("RESOURCE_DOES_NOT_EXIST"):
                wanted = self._aliases(name).get(alias)
            # Out here an absence is an error: the alias names a version that is not there.
            return None if wanted is None else self._read_version(name, wanted)

    def ledger(self, name: str) -> Ledger:
        """Return the ledger of a registered model, which need not be there yet."""
        if scheme(self._uri) not in ("http", "https", "databricks"):
            return Ledger(name, TableStorage(self._uri, name, self._asking))

        def read() -> Mapping[str, str]:
            with self._asking("The ledger is read."), tolerating("RESOURCE_DOES_NOT_EXIST"):
                tags: dict[str, str] = self._client.get_registered_model(name).tags
                return tags
            return {}

        def write(key: str, value: str) -> None:
            with self._asking("What happened is written down."):
                with tolerating("RESOURCE_DOES_NOT_EXIST"):
                    self._client.set_registered_model_tag(name, key, value)
                    return
                with tolerating("RESOURCE_ALREADY_EXISTS"):
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
            A trial could not be written for `pipelines.trials.PATIENCE_SECONDS`; it is in the
            spool, and a run that was to be FINISHED is FAILED.
        """
        late: ServiceError | None = None
        children = _Children(self, run_id)
        delivery = self._deliveries.pop(run_id, None)
        if delivery is not None:
            try:
                delivery.flush()
            except ServiceError as err:
                late = err
            finally:
                delivery.close()
        kept = "FAILED" if late is not None and status == "FINISHED" else status
        try:
            with self._asking("The run is closed."):
                if delivery is not None and late is None:
                    children.children()
                for child in children.open():
                    self._client.set_terminated(child, "KILLED" if kept == "KILLED" else "FAILED")
                self._client.set_terminated(run_id, kept)
        except ServiceError:
            if late is None:
                raise
        if late is not None:
            raise late

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
        if scheme(self._uri) in ("http", "https"):
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
        return asking(self._uri, rule)

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
            tolerating("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"),
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
            tolerating("RESOURCE_DOES_NOT_EXIST"),
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


class _Children:
    """The runs of one run's trials: `pipelines.trials.Runs` in MLflow."""

    def __init__(self, tracker: Tracker, run_id: str) -> None:
        self._tracker = tracker
        self._client = tracker._client
        self._run_id = run_id

    def children(self) -> dict[int, Child]:
        """Find the trials that have a run, by their number; of two of one trial, one is deleted.

        A request that was given up, by MLflow's client or by a process that died, may still
        have been carried out, and then there are two.
        """
        found: dict[int, Child] = {}
        with self._tracker._asking("The trials of a run are looked up."):
            # The finished ones first: of two that are not, the older one is kept.
            for run in sorted(self._search(), key=lambda run: run.info.status == "RUNNING"):
                tags = run.data.tags
                number = int(tags.get("tidegate.trial", -1))
                if number in found:
                    self._client.delete_run(run.info.run_id)
                elif number >= 0:
                    found[number] = Child(run.info.run_id, standing(run.info.status, tags))
        return found

    def open(self) -> list[str]:
        """Find those that nobody closed, by their ids."""
        return [run.info.run_id for run in self._search(" and attributes.status = 'RUNNING'")]

    def create(self, entry: Entry) -> str:
        """Open a trial's run and return its id."""
        named = {"tidegate.trial": str(entry.number), "tidegate.family": entry.params["family"]}
        tags = {**_origin(), _KIND: "trial", _PARENT: self._run_id, **named}
        with self._tracker._asking("Each trial is logged as a run."):
            run = self._client.create_run(
                self._tracker.experiment_id,
                start_time=entry.started,
                tags=_tags(tags),
                run_name=entry.name,
            )
        return str(run.info.run_id)

    def complete(self, child: Child, entry: Entry) -> None:
        """Log what the trial came to, and close its run."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(key, value, entry.ended, step) for key, value, step in entry.metrics]
        # Told again, it may have lost the error that it had.
        tags = entry.tags if child.new else {"tidegate.error": "", **entry.tags}
        with self._tracker._asking("Each trial is logged as a run."):
            self._tracker._log(
                child.run_id,
                metrics=metrics,
                params=[Param(*pair) for pair in _params(entry.params)],
                tags=[RunTag(*pair) for pair in _tags(tags).items()],
            )
            self._client.set_terminated(child.run_id, entry.state, end_time=entry.ended)

    def _search(self, more: str = "") -> "list[mlflow.entities.Run]":
        said = f"tags.`{_PARENT}` = {_quoted(self._run_id)}{more}"
        runs: list[mlflow.entities.Run] = []
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._tracker.experiment_id],
                said,
                max_results=1_000,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            runs += page
            token = page.token
            if not token:
                return runs


def _artifacts(settings: TrackingSettings, folder: Path, state: Path, uri: str) -> str | None:
    """Return the URL under which a new experiment keeps its files; None: the server's own."""
    if settings.artifacts is not None:
        if "://" in settings.artifacts:
            return settings.artifacts
        return (folder / settings.artifacts).resolve().as_uri()
    if scheme(uri) in ("http", "https", "databricks"):
        return None
    return (state / "artifacts").as_uri()


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
