"""The command line: parse, load the project, call a flow, print the verdict, exit."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from pipelines.errors import TidegateError

INTERRUPTED = 130
"""What a shell reports for a process that Ctrl-C ended (128 + SIGINT)."""


class _Verbs(click.Group):
    """The verbs in the order of the work, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tidegate")
def cli() -> None:
    """Turn a table and one project file into a tuned, gated, served and watched model.

    \b
    A project of your own:   tidegate init data.csv --target churn && tidegate run
    Its evidence:            tidegate ui
    """


def _project_options(function: Callable[..., Any]) -> Callable[..., Any]:
    function = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="SECTION.KEY=VALUE",
        help="Override a setting; may be given again.",
    )(function)
    return click.option(
        "--project",
        metavar="DIR",
        help="The project's folder; by default TIDEGATE_PROJECT, else the nearest one upwards.",
    )(function)


_resume_option = click.option(
    "--resume", is_flag=True, help="Go on with the last sweep that was cut short."
)

_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout."
)


@contextmanager
def _only_json(as_json: bool) -> Iterator[Callable[[Any], None]]:
    """Give a function that prints the document; whatever else prints goes to stderr.

    The file descriptor is redirected, not `sys.stdout`: libraries and processes that
    print know nothing of the latter.
    """
    if not as_json:
        yield lambda document: None
        return
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:

        def show(document: Any) -> None:
            text = json.dumps(document, indent=2, ensure_ascii=False, default=str)
            sys.stdout.flush()
            with os.fdopen(os.dup(stdout), "w", encoding="utf-8") as stream:
                stream.write(text + "\n")

        yield show
    finally:
        sys.stdout.flush()
        os.dup2(stdout, 1)
        os.close(stdout)


def _flow(
    verb: str,
    project: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
    *,
    fits: bool = False,
    **parameters: Any,
) -> int:
    """Run a flow against its engine and show what it came to; return the exit code."""
    from contextlib import ExitStack
    from importlib import import_module

    from flows.engine import Engine
    from flows.project import Project
    from flows.session import Session

    loaded = Project.load(project, overrides)
    with _only_json(as_json) as show, ExitStack() as stack:
        # Both get ready on the other core while this process imports the flow's libraries.
        engine = stack.enter_context(Engine(loaded.state / "prefect"))
        session = Session(loaded)
        if fits:
            from pipelines.sweep.executors import start_executor

            chosen = session.families.choose(loaded.train.families)
            session.executor = stack.enter_context(start_executor(loaded.train, chosen))
        with session.phase("start"):
            flow = getattr(import_module(f"flows.{verb}"), verb)
            from flows.stages import call

            engine.wait()
        outcome = call(flow, session, overrides, **parameters)
        show(outcome.to_dict())
        if not as_json:
            from flows.terminal import show_outcome

            show_outcome(verb, outcome)
    return outcome.exit_code


@cli.command()
@click.argument("data")
@click.option("--target", required=True, metavar="COLUMN", help="The column to predict.")
@click.option("--time", metavar="COLUMN", help="When each row happened: splits by time.")
@click.option("--dir", "folder", default=".", metavar="DIR", help="The project's folder.")
@click.option("--query", help="SQL, when DATA is a database address.")
@click.option("--force", is_flag=True, help="Overwrite the files of an earlier init.")
def init(
    data: str, target: str, time: str | None, folder: str, query: str | None, force: bool
) -> int:
    """Infer a project from DATA: a file, or a database address with --query.

    \b
    Example: tidegate init customers.csv --target churned --time signup_date
    """
    from flows.init import init as make
    from flows.terminal import show_proposal

    proposal = make(
        data, target, time=time, query=query, folder=Path(folder).resolve(), force=force
    )
    show_proposal(proposal, Path(folder))
    return 0


@cli.command()
@_project_options
@_json_option
def validate(project: str | None, overrides: tuple[str, ...], as_json: bool) -> int:
    """Judge the table by its contract.

    \b
    Example: tidegate validate --project flights --json
    """
    return _flow("validate", project, overrides, as_json)


@cli.command()
@_resume_option
@_project_options
@_json_option
def train(project: str | None, overrides: tuple[str, ...], as_json: bool, resume: bool) -> int:
    """Search for the best model; log every trial and the candidate.

    \b
    Example: tidegate train --set train.trials=80
    """
    return _flow("train", project, overrides, as_json, fits=True, resume=resume)


@cli.command()
@click.option("--run", "run_id", metavar="ID", help="The run to judge; by default the latest.")
@_project_options
@_json_option
def gate(project: str | None, overrides: tuple[str, ...], as_json: bool, run_id: str | None) -> int:
    """Judge the candidate on the sealed rows.

    \b
    Example: tidegate gate --run 4f0c2a
    """
    return _flow("gate", project, overrides, as_json, run_id=run_id)


@cli.command()
@click.option("--run", "run_id", metavar="ID", help="The run to deploy; by default the latest.")
@click.option("--wait", is_flag=True, help="Where a person must approve: pause until one has.")
@_project_options
@_json_option
def deploy(
    project: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
    run_id: str | None,
    wait: bool,
) -> int:
    """Make the candidate that passed its gate the champion.

    \b
    Example: tidegate deploy
    """
    return _flow("deploy", project, overrides, as_json, run_id=run_id, wait=wait)


def _answer_options(function: Callable[..., Any]) -> Callable[..., Any]:
    function = click.option("--reason", required=True, metavar="TEXT", help="Why; kept for ever.")(
        function
    )
    function = click.option("--by", required=True, metavar="NAME", help="Who decides.")(function)
    return click.argument("version")(function)


@cli.command()
@_answer_options
@_project_options
@_json_option
def approve(
    project: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
    version: str,
    by: str,
    reason: str,
) -> int:
    """Let VERSION serve: one that waits, or one that the gate refused.

    \b
    Example: tidegate approve 3 --by "Ada Lovelace" --reason "tried on last week's flights"
    """
    return _flow("approve", project, overrides, as_json, version=version, by=by, reason=reason)


@cli.command()
@_answer_options
@_project_options
@_json_option
def reject(
    project: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
    version: str,
    by: str,
    reason: str,
) -> int:
    """Refuse VERSION, which waits for an answer; the champion stays.

    \b
    Example: tidegate reject 3 --by "Ada Lovelace" --reason "too many false alarms"
    """
    return _flow("reject", project, overrides, as_json, version=version, by=by, reason=reason)


@cli.command()
@click.option("--to", metavar="VERSION", help="By default the version that served before.")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the ledger.")
@_project_options
@_json_option
def rollback(
    project: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
    to: str | None,
    reason: str,
) -> int:
    """Let a version serve again that served before.

    \b
    Example: tidegate rollback --to 2 --reason "complaints since Monday"
    """
    return _flow("rollback", project, overrides, as_json, to=to, reason=reason)


@cli.command()
@_resume_option
@_project_options
@_json_option
def run(project: str | None, overrides: tuple[str, ...], as_json: bool, resume: bool) -> int:
    """Validate, train, gate and deploy.

    \b
    Example: tidegate run --set train.trials=20 --json > verdict.json
    """
    return _flow("run", project, overrides, as_json, fits=True, resume=resume)


@cli.command()
@click.argument("data")
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to: .csv or .parquet.")
@click.option("--query", help="SQL, when DATA is a database address.")
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    metavar="ROWS",
    help="Rows that are in memory at a time.",
)
@click.option("--no-log", is_flag=True, help="Write nothing to the prediction log.")
@_project_options
@_json_option
def predict(
    project: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
    data: str,
    output: str,
    query: str | None,
    batch: int,
    no_log: bool,
) -> int:
    """Score DATA with the champion; given again after an interruption, go on.

    \b
    Example: tidegate predict new.csv -o scored.csv
    """
    # A path on the command line starts where the user stands, not at the project.
    return _flow(
        "predict",
        project,
        overrides,
        as_json,
        data=_from_here(data),
        output=str(Path(output).resolve()),
        query=query,
        batch=batch,
        logged=not no_log,
    )


@cli.command()
@click.option("--host", help="Address to listen on; serve.host by default.")
@click.option("--port", type=int, help="Port to listen on; serve.port by default.")
@_project_options
def serve(
    project: str | None, overrides: tuple[str, ...], host: str | None, port: int | None
) -> int:
    """Serve the champion over HTTP: /invocations, /v1/predict, /v1/labels, /docs.

    \b
    Example: tidegate serve --port 8080
    """
    from flows.project import Project
    from flows.serve import serve as start

    flags = [f'serve.host="{host}"'] * (host is not None) + [f"serve.port={port}"] * (
        port is not None
    )
    start(Project.load(project, (*overrides, *flags)))
    return 0


@cli.command()
@click.option("--data", metavar="FILE", help="The window, as a file or a database address.")
@click.option("--query", help="SQL, when --data is a database address.")
@click.option("--since", metavar="TIME", help="The window's start in the prediction log.")
@click.option("--until", metavar="TIME", help="The window's end in the prediction log.")
@click.option("--no-act", is_flag=True, help="Record the decision, and do nothing of it.")
@_project_options
@_json_option
def monitor(
    project: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
    data: str | None,
    query: str | None,
    since: str | None,
    until: str | None,
    no_act: bool,
) -> int:
    """Judge what was answered since the last time, decide, and do what was decided.

    \b
    Example: tidegate monitor
    Example: tidegate monitor --data traffic/2013-07.parquet
    """
    return _flow(
        "monitor",
        project,
        overrides,
        as_json,
        data=None if data is None else _from_here(data),
        query=query,
        since=since,
        until=until,
        act=not no_act,
    )


@cli.command("simulate-policy")
@click.option("--data", metavar="FILE", help="Labelled traffic; by default the prediction log's.")
@click.option("--query", help="SQL, when --data is a database address.")
@click.option(
    "--windows", type=int, default=12, show_default=True, help="Into how many windows it is cut."
)
@_project_options
@_json_option
def simulate_policy(
    project: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
    data: str | None,
    query: str | None,
    windows: int,
) -> int:
    """Replay [monitor.policy] over labelled traffic, against never retraining and always.

    \b
    Example: tidegate simulate-policy --windows 6
    Example: tidegate simulate-policy --data traffic/2013.parquet
    """
    from flows.project import Project
    from flows.simulate_policy import simulate_policy as replay

    with _only_json(as_json) as show:
        found = replay(
            Project.load(project, overrides),
            None if data is None else _from_here(data),
            query,
            windows,
        )
        show(found)
        if not as_json:
            from flows.terminal import show_simulation

            show_simulation(found)
    return 0


@cli.command()
@click.option(
    "--dir",
    "folder",
    default="tidegate-demo",
    show_default=True,
    metavar="DIR",
    help="The folder that it makes.",
)
@click.option("--force", is_flag=True, help="Make the folder of an earlier demo anew.")
@_json_option
def demo(folder: str, force: bool, as_json: bool) -> int:
    """Tell the whole story on bundled data: served, watched, retrained, rolled back.

    \b
    Example: tidegate demo
    """
    from flows.demo import demo as tell

    with _only_json(as_json) as show:
        show(tell(Path(folder).resolve(), force=force, quiet=as_json))
    return 0


@cli.command()
@click.option("--port", type=int, default=5000, show_default=True, help="MLflow's port.")
@click.option("--prefect-port", type=int, default=4200, show_default=True, help="Prefect's port.")
@click.option(
    "--monitoring-port",
    type=int,
    default=5002,
    show_default=True,
    help="Of the page of what was monitored.",
)
@_project_options
def ui(
    project: str | None,
    overrides: tuple[str, ...],
    port: int,
    prefect_port: int,
    monitoring_port: int,
) -> int:
    """Show the runs: MLflow's and Prefect's pages and that of monitoring, on this machine alone.

    \b
    Example: tidegate ui --project flights
    """
    from flows.project import Project
    from flows.ui import ui as start

    start(
        Project.load(project, overrides),
        port=port,
        prefect_port=prefect_port,
        monitoring_port=monitoring_port,
    )
    return 0


@cli.command()
@_project_options
@_json_option
def status(project: str | None, overrides: tuple[str, ...], as_json: bool) -> int:
    """Show the champion, the challenger, the last run with its verdict, and the last monitoring.

    \b
    Example: tidegate status --json
    """
    from flows.project import Project
    from flows.status import status as look

    with _only_json(as_json) as show:
        found = look(Project.load(project, overrides))
        show(found)
        if not as_json:
            from flows.terminal import show_status

            show_status(found)
    return 0


@cli.command()
@click.option("--at", metavar="DATE", help="Which version served then, and why.")
@_project_options
@_json_option
def history(project: str | None, overrides: tuple[str, ...], as_json: bool, at: str | None) -> int:
    """Show who did what to the model, newest first.

    \b
    Example: tidegate history --at 2026-11-01
    """
    from flows.history import history as look
    from flows.project import Project

    with _only_json(as_json) as show:
        found = look(Project.load(project, overrides), at)
        show(found)
        if not as_json:
            from flows.terminal import show_history

            show_history(found)
    return 0


@cli.command()
@click.option("--schema", is_flag=True, help="Print the project file's JSON schema instead.")
@_project_options
@_json_option
def config(project: str | None, overrides: tuple[str, ...], as_json: bool, schema: bool) -> int:
    """Show every setting, its value and where it came from.

    \b
    Example: tidegate config --set train.trials=10
    """
    from flows import project as projects

    with _only_json(as_json or schema) as show:
        if schema:
            show(projects.schema())
            return 0
        loaded = projects.Project.load(project, overrides)
        settings = loaded.settings()
        show(
            {
                "project": str(loaded.folder),
                "settings": {s.key: {"value": s.value, "origin": s.origin} for s in settings},
            }
        )
        if not as_json:
            from flows.terminal import show_settings

            show_settings(loaded.folder, settings)
    return 0


def _from_here(data: str) -> str:
    from pipelines.data import is_url

    return data if is_url(data) else str(Path(data).resolve())


def main() -> None:
    """Run the console script: errors become a message and an exit code."""
    # A scheduler that stops a job deserves the same clean end as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    as_json = "--json" in sys.argv[1:]
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as err:
        if as_json:
            _print_error(type(err).__name__, TidegateError(err.format_message()))
        err.show()
        code = err.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        interrupted = TidegateError(
            "What was begun is closed; nothing half-done is registered.",
            next_move="a sweep goes on with `tidegate train --resume`",
        )
        if as_json:
            _print_error("Interrupted", interrupted)
        _say("interrupted", str(interrupted))
        code = INTERRUPTED
    except TidegateError as err:
        if as_json:
            _print_error(type(err).__name__, err)
        _say("error", str(err), getattr(err, "__notes__", []))
        code = err.exit_code
    except OSError as err:
        failed = TidegateError("The machine did not do its part.", found=str(err))
        if as_json:
            _print_error(type(err).__name__, failed)
        _say("error", str(failed))
        code = TidegateError.exit_code
    sys.exit(code if isinstance(code, int) else 0)


def _print_error(kind: str, err: TidegateError) -> None:
    document = {
        "verdict": "error",
        "reasons": [str(err)],
        "error": {
            "kind": kind,
            "rule": err.rule,
            "found": err.found,
            "next_move": err.next_move,
        },
    }
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _say(kind: str, text: str, notes: Any = ()) -> None:
    body = "\n".join([text, *notes]).replace("\n", "\n  ")
    click.echo(f"tidegate: {kind}: {body}", err=True)
