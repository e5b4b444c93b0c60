"""The commands."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from flywheel.errors import UsageError
from flywheel.json_text import as_json as to_json
from flywheel.version import installed_version

app = typer.Typer(
    name="flywheel",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SpecFile = Annotated[Path, typer.Option("--file", "-f", help="The spec.")]
Iterations = Annotated[
    int | None, typer.Option("--iterations", "-n", min=1, help="Iterations in all, instead of loop.iterations.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON, for programs.")]
DEFAULT_SPEC = Path("flywheel.yaml")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"flywheel {installed_version()}")
        raise typer.Exit


@app.callback()
def flywheel_(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Turn a model's mistakes into a better model: probe, teach, verify, train, gate, deploy."""


@app.command()
def validate(file: SpecFile = DEFAULT_SPEC) -> None:
    """Check the spec and every file it names; all faults at once, each with its place."""
    from flywheel.console.colour import FAULTS, say
    from flywheel.engine.golds import validated
    from flywheel.errors import render_fault

    for fault in validated(_open(file)):
        say(render_fault(fault), FAULTS, sys.stderr)
    say(f"{file}: valid", FAULTS)


@app.command()
def schema() -> None:
    """Print the JSON Schema of flywheel.yaml, for editors."""
    from flywheel.spec.schema import json_schema

    print(json.dumps(json_schema(), indent=2))


@app.command()
def plan(
    file: SpecFile = DEFAULT_SPEC,
    iterations: Iterations = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Save the plan for `flywheel apply PLAN`.")] = None,
    as_json: AsJson = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Reused nodes too.")] = False,
    detailed_exitcode: Annotated[bool, typer.Option(help="Exit 2 where there is something to do.")] = False,
) -> None:
    """Show what apply would do, and why; with expected calls, tokens, dollars and time."""
    from flywheel.console.colour import PLAN, say
    from flywheel.console.plans import plan_text
    from flywheel.engine.planning import (
        cannot_pay_in_words,
        known_budgets,
        rounds_in_words,
        timed_plan,
        training_in_words,
    )
    from flywheel.files import write_text

    project = _open(file)
    found = timed_plan(project, iterations, lambda words: print(words, file=sys.stderr))
    text = json.dumps(found.to_json(), indent=1, ensure_ascii=False)
    if out is not None:
        write_text(out, text + "\n")
    if as_json:
        print(text)
    else:
        words = training_in_words(project), rounds_in_words(project), cannot_pay_in_words(project, found)
        say(plan_text(found, known_budgets(project, found), verbose, *words), PLAN)
    if detailed_exitcode and found.pending:
        raise typer.Exit(2)


@app.command()
def graph(
    file: SpecFile = DEFAULT_SPEC,
    iterations: Iterations = None,
    mermaid: Annotated[bool, typer.Option(help="Mermaid instead of Graphviz DOT.")] = False,
) -> None:
    """Print the DAG."""
    from flywheel.console.plans import graph_dot, graph_mermaid
    from flywheel.engine.planning import make_plan

    found = make_plan(_open(file), iterations)
    print(graph_mermaid(found) if mermaid else graph_dot(found))


@app.command()
def apply(
    plan_file: Annotated[Path | None, typer.Argument(metavar="[PLAN]", help="Exactly this saved plan.")] = None,
    file: SpecFile = DEFAULT_SPEC,
    iterations: Iterations = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="STEP", help="No further than this step (probe, curate, train …) of the next iteration."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before money is spent.")] = False,
    as_json: AsJson = False,
) -> None:
    """Turn the wheel."""
    from flywheel.console.progress import listener
    from flywheel.engine.apply import apply as run_apply
    from flywheel.engine.apply import command_of

    _stop_on_signals()
    project = _open(file)
    saved = _read_plan(plan_file) if plan_file is not None else None
    wanted = iterations if saved is None else int(saved["iterations"])
    with listener(as_json) as show:
        outcome = run_apply(
            project,
            iterations=wanted,
            until=until,
            saved_plan=saved,
            listener=show,
            confirm=lambda found: yes or saved is not None or _confirm(found),
            command=command_of(wanted, until),
        )
    _say(outcome, project, wanted, as_json, until)
    raise typer.Exit(outcome.exit_code)


@app.command()
def status(file: SpecFile = DEFAULT_SPEC, as_json: AsJson = False) -> None:
    """What is running, what was decided, what is deployed."""
    from flywheel.console.looks import status_text
    from flywheel.engine.status import status as look

    found = look(_root(file) / ".flywheel")
    print(to_json(found, indent=1) if as_json else status_text(found))


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="A query over the store.")],
    file: SpecFile = DEFAULT_SPEC,
    as_json: AsJson = False,
) -> None:
    """Ask the store, read-only."""
    from flywheel.console.looks import table_text
    from flywheel.engine.history import asked, open_lookup

    with open_lookup(_root(file) / ".flywheel") as lookup:
        rows = asked(lookup, sql)
    print(to_json(rows, indent=1) if as_json else table_text(rows))


@app.command()
def ask(
    task: Annotated[str, typer.Argument(help="A task of the spec.")],
    row: Annotated[
        list[str],
        typer.Argument(metavar="ROW…", help="KEY=VALUE …, a JSON object, a file of rows, or - (JSON lines on stdin)."),
    ],
    file: SpecFile = DEFAULT_SPEC,
    iteration: Annotated[
        int | None, typer.Option("--iteration", min=0, help="The model that it trained; 0 is the base.")
    ] = None,
    judge: Annotated[bool, typer.Option("--judge", help="Say what the task's verifiers find, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask the deployed model, or an iteration's."""
    from flywheel.api import Project
    from flywheel.cli.rows import rows_of
    from flywheel.console.answers import answer_json, answer_text

    rows = rows_of(row, sys.stdin)
    with Project.open(file) as project:
        for answer in project.answers(task, rows, iteration=iteration, judge=judge):
            print(to_json(answer_json(answer)) if as_json else answer_text(answer))


@app.command()
def serve(
    file: SpecFile = DEFAULT_SPEC,
    host: Annotated[
        str, typer.Option(help="Where to listen; elsewhere than on this machine needs --keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    keys: Annotated[
        str | None, typer.Option(help="The environment variable with the API keys, of which clients show one.")
    ] = None,
) -> None:
    """Serve the deployed model by OpenAI's protocol, until Ctrl-C; every answer is kept, with a receipt."""
    _root(file)
    try:
        from flywheel.engine.serving.guard import keys_of
        from flywheel.engine.serving.server import serve as run
    except ModuleNotFoundError as error:
        raise UsageError(f"serving needs {error.name}: pip install 'flywheel-loop[serve]'") from None

    def say(words: str) -> None:
        print(f"flywheel: {words}", file=sys.stderr, flush=True)

    _stop_on_signals()
    run(file, host, port, keys_of(keys, host), say)


@app.command()
def ingest(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Logs, traces or exports, as they are.")],
    file: SpecFile = DEFAULT_SPEC,
    format: Annotated[str, typer.Option(help="What they are; told by their content where it is auto.")] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take in what production was asked and answered, without personal data; each file whole or not at all."""
    from flywheel.console.traffic import ingested_json, ingested_text
    from flywheel.engine.ingest import ingest as take_in

    for done in take_in(_open(file), files, format, dry_run):
        print(to_json(ingested_json(done)) if as_json else ingested_text(done))


@app.command()
def watch(
    file: SpecFile = DEFAULT_SPEC,
    new: Annotated[int | None, typer.Option(min=1, help="After so many exchanges and opinions came in.")] = None,
    hours: Annotated[float | None, typer.Option(min=0.0, help="So long after the last turn began.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Look once, as cron wants it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Turn the wheel when production has brought enough, or when it is time; until Ctrl-C."""
    from datetime import timedelta
    from time import sleep

    from flywheel.console.progress import listener
    from flywheel.engine.apply import EXIT_INTERRUPTED
    from flywheel.engine.watching import LOOK_SECONDS, Patience, look
    from flywheel.errors import StoreLocked

    def say(words: str) -> None:
        print(f"flywheel: {words}", file=sys.stderr, flush=True)

    _root(file)
    _stop_on_signals()
    patience = Patience(new, None if hours is None else timedelta(hours=hours))
    while True:
        try:
            with listener(as_json) as show:
                outcome = look(file, patience, say, show)
        except StoreLocked as held:
            if once:
                raise
            say(f"{held} The next look is in {LOOK_SECONDS:.0f} s.")
            outcome = None
        if outcome is not None and outcome.exit_code == EXIT_INTERRUPTED:
            raise typer.Exit(outcome.exit_code)
        if once:
            raise typer.Exit(0 if outcome is None else outcome.exit_code)
        sleep(LOOK_SECONDS)


@app.command()
def forget(
    source_id: Annotated[str, typer.Argument(help="The id of an exchange, as its log has it.")],
    file: SpecFile = DEFAULT_SPEC,
    as_json: AsJson = False,
) -> None:
    """Remove an exchange and all that was said of it, for ever; says which models learned from it."""
    from dataclasses import asdict

    from flywheel.console.traffic import forgotten_text
    from flywheel.engine.forget import forget as remove

    found = remove(_open(file), source_id)
    print(to_json(asdict(found)) if as_json else forgotten_text(found))


@app.command()
def show(
    row_id: Annotated[str, typer.Argument(help="An answer, failure, candidate, lesson, call, model or item id.")],
    file: SpecFile = DEFAULT_SPEC,
    columns: Annotated[bool, typer.Option("--columns", help="Every column of every row.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell a row's whole life: failure, lesson, call, verdicts, dataset, adapter, scores."""
    from flywheel.console.lives import columns_text, life_text
    from flywheel.engine.history import open_lookup
    from flywheel.engine.lookback import life

    with open_lookup(_root(file) / ".flywheel") as lookup:
        chapters = life(lookup, row_id)
    print(to_json(chapters, indent=1) if as_json else (columns_text if columns else life_text)(chapters))


@app.command()
def report(
    iteration: Annotated[int | None, typer.Argument(help="The iteration; all of them without it.")] = None,
    file: SpecFile = DEFAULT_SPEC,
    open_: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve it to this machine, with every item out of the store, until Ctrl-C.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="To serve on; 0 takes a free one.")] = 0,
) -> None:
    """Print where an iteration's report is, open it, or serve it."""
    from flywheel.engine.overview import refresh_overview

    reports = _root(file) / "reports"
    path = reports / "index.html" if iteration is None else reports / f"iter-{iteration:03d}" / "index.html"
    if not path.exists():
        have = ", ".join(sorted(p.name for p in reports.glob("iter-*"))) if reports.exists() else ""
        raise UsageError(f"{path}: no such report. {'There are: ' + have if have else 'Run `flywheel apply` first.'}")
    refresh_overview(file)
    if serve:
        _serve(file, port, "" if iteration is None else f"{path.parent.name}/", open_)
        return
    print(path)
    if open_:
        _browse(path.absolute().as_uri())


def _browse(address: str) -> None:
    import webbrowser  # it looks for browsers when it is imported

    if not webbrowser.open(address):
        print("flywheel: there is no browser here; open the above in one.", file=sys.stderr)


def _serve(file: Path, port: int, path: str, open_: bool) -> None:
    from flywheel.engine.viewer import serve

    def say(address: str) -> None:
        print(f"{address}  (Ctrl-C ends it)", flush=True)
        if open_:
            _browse(address)

    serve(_root(file), port, say, path)


Iteration = Annotated[int, typer.Argument(min=1, help="The iteration.")]
By = Annotated[str, typer.Option("--by", help="Who says so.")]
Note = Annotated[str, typer.Option("--note", help="Why; kept with it.")]


@app.command()
def approve(iteration: Iteration, by: By, note: Note = "", file: SpecFile = DEFAULT_SPEC) -> None:
    """Let a promoted iteration be deployed, where the spec has `deploy.approve: human`; apply then goes on."""
    _speak(file, iteration, "approve", by, note)


@app.command()
def reject(iteration: Iteration, by: By, note: Note = "", file: SpecFile = DEFAULT_SPEC) -> None:
    """Keep a promoted iteration from being deployed; the next one starts from the incumbent."""
    _speak(file, iteration, "reject", by, note)


@app.command()
def review(
    file: SpecFile = DEFAULT_SPEC,
    by: Annotated[str, typer.Option("--by", help="Your name; the page asks for it without.")] = "",
    reviewers: Annotated[int, typer.Option(min=1, help="People that each item takes.")] = 1,
    rows: Annotated[
        list[Path] | None, typer.Option(help="JSON lines without right answers: review these and nothing else.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Of --rows: the column that right answers go into.")] = None,
    write: Annotated[
        bool,
        typer.Option("--write", help="Write what was settled into --rows or the judges' cases, and serve nothing."),
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="To serve on; 0 takes a free one.")] = 0,
    open_: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
) -> None:
    """Serve a page with all that waits for a person to this machine: lessons, a judge's cases, approvals."""
    from flywheel.console.looks import written_text
    from flywheel.engine.reviewing.items import tables_of
    from flywheel.engine.reviewing.server import ReviewRoom, desk_at, serve
    from flywheel.engine.reviewing.writing import write as write_settled

    if not rows:
        _open(file)
    desk = desk_at(file, tables_of(rows or [], target))
    if write:
        print(written_text(write_settled(desk)))
        return

    def say(address: str) -> None:
        print(f"{address}  (Ctrl-C ends it)", flush=True)
        if open_:
            _browse(address)

    serve(ReviewRoom(desk, by.strip(), reviewers), port, say)


@app.command()
def certify(
    iteration: Iteration,
    file: SpecFile = DEFAULT_SPEC,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Where to; packed if it ends in .gz. Default: here, by iteration."),
    ] = None,
) -> None:
    """Write an iteration's decision as a certificate: all that it follows from, and no text of any row."""
    from flywheel.engine.certifying import certify as write

    place = out or Path(f"certificate-iter-{iteration:03d}.json.gz")
    document = write(_open(file), iteration, place)
    print(f"{place}: {document['decision']['outcome']} (iteration {iteration}). Anybody: flywheel verify {place}")


@app.command()
def verify(
    certificate: Annotated[Path, typer.Argument(help="What `flywheel certify` wrote.")],
    project: Annotated[
        Path | None, typer.Option("--project", help="Hold its hashes against this project's folder.")
    ] = None,
    spec: Annotated[Path | None, typer.Option("--spec", help="… against this spec.")] = None,
    adapter: Annotated[Path | None, typer.Option("--adapter", help="… against this folder with an adapter.")] = None,
    report: Annotated[Path | None, typer.Option("--report", help="… against this iteration's report.")] = None,
    as_json: AsJson = False,
) -> None:
    """Derive a certificate's decision again, without project, model or network; exit 1 where anything differs."""
    from flywheel.console.certificate import verified_json, verified_text
    from flywheel.engine.certifying import verify as look

    found = look(certificate, project, spec, adapter, report)
    print(to_json(verified_json(found), indent=1) if as_json else verified_text(found))
    raise typer.Exit(int(not found.agrees))


@app.command()
def audit(
    file: SpecFile = DEFAULT_SPEC,
    verifier: Annotated[str | None, typer.Option(help="Only this verifier, by itself.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Seeds and golden cases of each task, at most.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before money is spent.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure how often the verifiers are wrong: on golden cases, seeds, and seeds made wrong."""
    from flywheel.console.audit import audit_json, audit_text, show_progress
    from flywheel.engine.audit import audit as run_audit
    from flywheel.engine.golds import gold_doubts
    from flywheel.errors import render_fault

    def confirm(calls: int) -> bool:
        return yes or not sys.stdin.isatty() or typer.confirm(f"Up to {calls:,} calls to judges. Go on?", err=True)

    workspace = _open(file)
    for doubt in gold_doubts(workspace.spec, workspace.root):
        print(render_fault(doubt), file=sys.stderr)
    found = run_audit(workspace, verifier, limit, confirm, show_progress)
    if as_json:
        print(to_json(audit_json(found) if found else None, indent=1))
    else:
        print(audit_text(found) if found else "nothing was audited")


@app.command()
def compare(
    untargeted: Annotated[
        bool,
        typer.Option("--untargeted", help="With as many lessons, made from the probe rows as they come."),
    ] = False,
    curve: Annotated[
        bool,
        typer.Option("--curve", help="The same, and how many lessons either side needs for the other's score."),
    ] = False,
    file: SpecFile = DEFAULT_SPEC,
    iterations: Annotated[
        int | None, typer.Option("--iterations", "-n", min=1, help="So many; as many as are done without it.")
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, max=100, help="Trainings of either side; the interval covers them, too.")
    ] = 1,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before money is spent.")] = False,
    as_json: AsJson = False,
) -> None:
    """Turn the wheel once more in a folder of its own, in another way, and compare the two models."""
    from flywheel.console.compare import compare_json, compare_text
    from flywheel.console.progress import listener
    from flywheel.engine.compare import compare_untargeted

    if not (untargeted or curve):
        raise UsageError("compare with what? Write `flywheel compare --untargeted`, or `flywheel diff A B`.")
    _stop_on_signals()
    with listener(as_json) as show:
        found = compare_untargeted(_open(file), iterations, show, lambda plan: yes or _confirm(plan), seeds, curve)
    if found is None and not as_json:
        print("nothing was compared")
    elif found is not None:
        print(to_json(compare_json(found)) if as_json else compare_text(found))


@app.command()
def diff(
    a: Annotated[int, typer.Argument(min=1, help="An iteration.")],
    b: Annotated[int, typer.Argument(min=1, help="The one to compare it with.")],
    file: SpecFile = DEFAULT_SPEC,
    other: Annotated[
        Path | None, typer.Option("--other", help="Another project's folder or spec, of which B is an iteration.")
    ] = None,
    page: Annotated[Path | None, typer.Option("--page", help="Write it as a page, with every item.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two iterations: spec, training rows, scores on the same items, error modes, cost."""
    from contextlib import ExitStack
    from dataclasses import asdict

    from flywheel.console.diff import diff_text
    from flywheel.engine.diff import diff as compare
    from flywheel.engine.diff import diff_page
    from flywheel.engine.history import open_lookup
    from flywheel.files import write_text

    project = _open(file)
    theirs = None if other is None else _open(other / DEFAULT_SPEC if other.is_dir() else other)
    with ExitStack() as stack:
        lookup = stack.enter_context(open_lookup(project.state))
        second = None if theirs is None else (theirs, stack.enter_context(open_lookup(theirs.state)))
        found = compare(project, lookup, a, b, second)
        if page is not None:
            write_text(page, diff_page(project, lookup, found, second))
    if page is not None and not as_json:
        print(page)
        return
    print(to_json(asdict(found), indent=1) if as_json else diff_text(found))


@app.command()
def track(
    tracker: Annotated[Literal["mlflow", "wandb", "trackio"], typer.Argument(help="Set up as it always is.")],
    file: SpecFile = DEFAULT_SPEC,
) -> None:
    """Send finished iterations to an experiment tracker: scores, error modes, losses, cost, the report."""
    from flywheel.engine.tracking import track as send
    from flywheel.text import plural

    sent = send(_root(file), tracker)
    print(f"{tracker}: {plural(len(sent), 'iteration')} sent" if sent else f"{tracker} has every iteration already")


@app.command()
def modes(
    iteration: Annotated[int | None, typer.Argument(min=1, help="Default: the last in which any failed.")] = None,
    file: SpecFile = DEFAULT_SPEC,
    accept: Annotated[
        list[str] | None, typer.Option(help="Print the change of the spec that adds this mode, for `patch -p1`.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Propose error modes for failures that fell to the taxonomy's fallback, each with a predicate, measured."""
    from dataclasses import asdict

    from flywheel.console.modes import modes_text
    from flywheel.engine.history import open_lookup
    from flywheel.engine.proposing.patch import patch
    from flywheel.engine.proposing.proposals import chosen, propose

    project = _open(file)
    with open_lookup(project.state) as lookup:
        found = propose(project, lookup, iteration)
    if accept:
        sys.stdout.write(patch(project.loaded, chosen(found, accept)))
    else:
        print(to_json([asdict(task) for task in found], indent=1) if as_json else modes_text(found))


@app.command()
def rollback(
    file: SpecFile = DEFAULT_SPEC,
    to: Annotated[str | None, typer.Option(help="A model id that was deployed before.")] = None,
) -> None:
    """Point back at the model deployed before; its hashes are checked and it must answer."""
    from flywheel.engine.rollback import rollback as move

    manifest = move(_open(file), to)
    print(f"deployed: {manifest['model_id']} (iteration {manifest['iteration']})")


@app.command()
def base(
    name: Annotated[
        str | None,
        typer.Argument(help="A built-in one, wherever you are; else the spec's, refused where that is another."),
    ] = None,
    file: SpecFile = DEFAULT_SPEC,
) -> None:
    """Print what transformers loads as the base, for stock tools: a folder, or a hub id."""
    from flywheel.engine.stock import stock_base
    from flywheel.student import BUILTIN

    print(BUILTIN[name] if name in BUILTIN else stock_base(_open(file), name))


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Where to; must be new or empty.")],
    file: SpecFile = DEFAULT_SPEC,
    iteration: Annotated[
        int | None, typer.Option("--iteration", min=1, help="The model that it trained; the deployed one without it.")
    ] = None,
    merged: Annotated[
        bool, typer.Option("--merged", help="One plain model: the adapter merged into its base, untied where needed.")
    ] = False,
) -> None:
    """Write a model as a folder that works elsewhere: adapter, tokenizer, prompts, settings, and how to ask it."""
    from flywheel.api import Project
    from flywheel.console.looks import exported_text

    with Project.open(file) as project:
        print(exported_text(project.export(folder, iteration=iteration, merged=merged)))


@app.command()
def export_dataset(
    folder: Annotated[Path, typer.Argument(help="Where to; must be new or empty.")],
    file: SpecFile = DEFAULT_SPEC,
    iteration: Annotated[
        int | None, typer.Option("--iteration", min=1, help="Which one; the deployed model's without it.")
    ] = None,
) -> None:
    """Write what an iteration was trained on as a data set: JSON lines, Parquet, and a card for Hugging Face."""
    from flywheel.api import Project
    from flywheel.console.looks import exported_dataset_text

    with Project.open(file) as project:
        print(exported_dataset_text(project.export_dataset(folder, iteration=iteration)))


@app.command()
def init(
    folder: Annotated[
        Path | None, typer.Argument(help="Where to; made if missing. Default: here, or named after the table.")
    ] = None,
    template: Annotated[
        str | None, typer.Option("--template", "-t", help="Which domain or recipe to begin with; `list` shows them.")
    ] = None,
    table: Annotated[
        str | None,
        typer.Option("--from", help="A table: CSV, TSV, JSON, JSONL, Parquet, or a data set's id on Hugging Face."),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Of the table: the column with the right answer.")] = None,
    inputs: Annotated[str, typer.Option(help="The columns that the student sees, with commas between them.")] = "",
    group: Annotated[
        str | None, typer.Option(help="The column whose equal values stay on one side of the split, as a customer's.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="What answers are: fields, labels, numbers, sql or text.")] = None,
    task: Annotated[str | None, typer.Option(help="What the task is called; the target's name without it.")] = None,
    teacher: Annotated[
        str | None, typer.Option(help="The model that answers rows without an answer, as litellm names it.")
    ] = None,
    setup: Annotated[Path | None, typer.Option(help="For queries: the SQL script that makes the tables.")] = None,
    base: Annotated[
        str, typer.Option(help="The student: a folder, a Hugging Face id, or the small one that is built in.")
    ] = "builtin:tiny",
) -> None:
    """Write a complete domain that runs offline: one to edit, or one from your own table."""
    from flywheel.engine.starting.start import Wishes
    from flywheel.engine.templates import copy_template, template_list, template_steps

    columns = tuple(column.strip() for column in inputs.split(",") if column.strip())
    wishes = Wishes(target, columns, group, kind, task, teacher, setup, base)
    if table is not None and template is None:
        _start(table, folder, wishes)
    elif table is not None or wishes != Wishes():
        raise UsageError("--template copies a domain, --from begins with a table and takes all other flags.")
    elif template == "list":
        print(template_list())
    else:
        for path in copy_template(name := template or "shop_sql", folder or Path()):
            print(path)
        print(f"Now: {_into(folder)}{template_steps(name)}")


def _start(table: str, folder: Path | None, wishes: Any) -> None:
    from flywheel.engine.starting.start import start

    def ask(question: str, choices: Sequence[str]) -> str:
        said = ""
        while said not in choices:
            said = typer.prompt(f"{question} ({', '.join(choices)})", err=True)
        return said

    made = start(table, folder, wishes, ask if sys.stdin.isatty() else None)
    print(made.guessed)
    print(f"written   {', '.join(path.relative_to(made.folder).as_posix() for path in made.files)}")
    print(f"Now: {_into(made.folder)}flywheel apply; then: flywheel ask {made.task} {made.example}")


def _into(folder: Path | None) -> str:
    return f"cd {folder} && " if folder not in (None, Path()) else ""


def _speak(file: Path, iteration: int, word: Literal["approve", "reject"], by: str, note: str) -> None:
    from flywheel.console.looks import approval_text
    from flywheel.engine.approval import speak

    print(approval_text(speak(_open(file), iteration, word, by, note)))


@app.command()
def doctor(
    file: SpecFile = DEFAULT_SPEC,
    deep: Annotated[bool, typer.Option("--deep", help="Import torch and ask it for the device.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what works on this machine and what does not; exit 1 where something is broken."""
    from flywheel.console.looks import findings_text
    from flywheel.engine.doctor import examine, spec_of

    findings = examine(_root(file) if file.is_file() else None, deep, spec_of(file))
    print(to_json([f.to_json() for f in findings], indent=1) if as_json else findings_text(findings))
    raise typer.Exit(int(any(finding.outcome == "broken" for finding in findings)))


def _open(file: Path) -> Any:
    from flywheel.engine.project import open_project

    _root(file)
    return open_project(file)


def _stop_on_signals() -> None:
    """SIGTERM ends a run as Ctrl-C does; a second one of either ends the process at once. Both can be resumed."""
    import signal
    from types import FrameType

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise KeyboardInterrupt(number)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


def _root(file: Path) -> Path:
    """The project's folder. Raises UsageError where there is no project."""
    if not file.is_file():
        raise UsageError(f"{file}: there is no spec here. Run `flywheel init`, or name one with --file.")
    return file.absolute().parent


def _read_plan(path: Path) -> dict[str, Any]:
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        if saved["plan_version"] != 1 or not isinstance(saved["nodes"], list):
            raise ValueError("not a plan of version 1")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not a saved plan ({error}). Make one with `flywheel plan -o {path}`.") from error
    return dict(saved)


def _confirm(plan: Any) -> bool:
    """Ask before money is spent; nothing else needs asking."""
    from flywheel.console.plans import totals

    if not any(node.estimate.usd for node in plan.pending) or not sys.stdin.isatty():
        return True
    return typer.confirm(f"{totals(plan)} Go on?", err=True)


def _say(outcome: Any, project: Any, iterations: int | None, as_json: bool, until: str | None = None) -> None:
    """In JSON the last event has it all."""
    from flywheel.console.ending import ending_text, error_text
    from flywheel.engine.status import status as look

    if outcome.error:
        print(f"flywheel: {error_text(outcome)}", file=sys.stderr)
    if not as_json and not (outcome.error and outcome.exit_code == 0):  # a person said no
        wanted = iterations or project.spec.loop.iterations
        print(ending_text(outcome, project, look(project.state), wanted, until))
