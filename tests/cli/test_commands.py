"""The commands as a person or a program meets them: words, streams, exit codes."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from mini_domain import Domain, judged_by_labels, rows

HEAVY = ("torch", "transformers", "peft", "lm_eval", "litellm", "datasets")


@pytest.mark.parametrize("command", [["validate"], ["plan"], ["status"], ["report"], ["--help"], ["graph"]])
def test_looking_loads_none_of_the_heavy_packages(applied: Domain, command: list[str]) -> None:
    script = (
        "import sys\nfrom flywheel.cli import main\n"
        f"sys.argv = ['flywheel', *{command!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('loaded:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", script], cwd=applied.root, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_apply_says_what_it_did_and_a_second_one_that_there_is_nothing_to_do(domain: Domain, flywheel) -> None:
    code, out, error = flywheel(domain, "apply")
    assert (code, error) == (0, "")
    assert "promoted in iteration 1" in out

    code, out, _ = flywheel(domain, "apply")
    assert code == 0
    assert "Nothing to do" in out


def test_apply_exits_3_when_nothing_was_promoted(domain: Domain, flywheel) -> None:
    domain.edit(lambda spec: spec["gate"].insert(0, {"suite": "holdout", "better_by": 0.9}))

    code, out, _ = flywheel(domain, "apply")

    assert code == 3
    assert "nothing was promoted" in out


def test_every_line_of_json_output_is_an_event_and_the_last_tells_the_exit_code(domain: Domain, flywheel) -> None:
    code, out, _ = flywheel(domain, "apply", "--json")

    events = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert events[0]["event"] == "run_started"
    assert (events[-1]["event"], events[-1]["exit_code"]) == ("run_ended", 0)
    done = {event["node"] for event in events if event["event"] == "node_done"}
    assert done == {name for name, *_ in events[0]["nodes"]}
    logs = sorted((domain.root / ".flywheel" / "runs").glob("*/events.jsonl"))
    assert [json.loads(line) for line in logs[-1].read_text().splitlines()] == events


def test_iterations_of_the_command_line_count_instead_of_the_specs(domain: Domain, flywheel) -> None:
    _, out, _ = flywheel(domain, "plan", "--iterations", "2", "--json")

    assert json.loads(out)["iterations"] == 2


def test_plan_tells_by_exit_code_whether_there_is_something_to_do(applied: Domain, flywheel) -> None:
    assert flywheel(applied, "plan", "--detailed-exitcode")[0] == 0
    applied.edit(lambda spec: spec["train"].update(rank=8))

    code, out, _ = flywheel(applied, "plan", "--detailed-exitcode")

    assert code == 2
    assert "train.rank 4 → 8" in out


def test_a_saved_plan_is_applied_and_then_refused(domain: Domain, flywheel) -> None:
    assert flywheel(domain, "plan", "-o", "plan.json")[0] == 0
    assert flywheel(domain, "apply", "plan.json")[0] == 0

    code, _, error = flywheel(domain, "apply", "plan.json")

    assert code == 1
    assert "out of date" in error


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"plan_version": 2, "nodes": []}', "\xff"])
def test_a_file_that_is_no_plan_is_a_usage_error(domain: Domain, flywheel, content: str) -> None:
    (domain.root / "plan.json").write_bytes(content.encode("latin-1"))

    code, _, error = flywheel(domain, "apply", "plan.json")

    assert code == 64
    assert "not a saved plan" in error


@pytest.mark.parametrize("arguments", [["--nope"], ["nope"], ["plan", "--iterations", "0"], ["show"]])
def test_a_wrong_command_line_is_exit_code_64_without_a_traceback(domain: Domain, flywheel, arguments) -> None:
    code, _, error = flywheel(domain, *arguments)

    assert code == 64
    assert error
    assert "Traceback" not in error


def test_an_invalid_spec_is_exit_code_4_with_its_place(domain: Domain, flywheel) -> None:
    domain.edit(lambda spec: spec["train"].update(rnk=8))

    code, _, error = flywheel(domain, "validate")

    assert code == 4
    assert "flywheel.yaml:" in error
    assert 'Did you mean "rank"?' in error


def test_validate_warns_of_predicates_that_never_hold_or_are_unknown_for_some_rows(domain: Domain, flywheel) -> None:
    modes = [("digits", "row.text::INT > 2"), ("none", "regexp_extract(answer, 'x') IS NULL"), ("other", None)]
    domain.edit(lambda spec: spec.update(taxonomy=[{"name": n} | ({"when": w} if w else {}) for n, w in modes]))
    domain.write_rows("evals/probes.jsonl", [{"text": "7", "label": "red"}, *rows(101, 11)])

    code, out, error = flywheel(domain, "validate")

    assert (code, out) == (0, "flywheel.yaml: valid\n")
    assert "taxonomy[0].when: for 11 of 12 rows it cannot be computed: Conversion Error" in error
    assert "taxonomy[1].when: a part of the predicate never holds: regexp_extract gives ''" in error
    assert error.count("warning: ") == 2


def test_validate_warns_at_a_prompt_that_names_none_of_its_labels(domain: Domain, flywheel) -> None:
    judged_by_labels(domain, "red", "blue")

    code, out, error = flywheel(domain, "validate")

    assert (code, out) == (0, "flywheel.yaml: valid\n")
    assert error == (
        "warning: prompts/colour.md: tasks.colour.prompt: the prompt names none of the 2 labels: the base cannot know "
        "them, and its score is an artefact of the prompt. Name them in it, such as red, blue.\n"
    )
    (domain.root / "prompts" / "colour.md").write_text("red or blue? {{ row.text }}\ncolour:")
    assert flywheel(domain, "validate") == (0, "flywheel.yaml: valid\n", "")


def test_without_a_spec_the_way_on_is_named(tmp_path: Path, flywheel) -> None:
    code, _, error = flywheel(Domain(tmp_path), "apply")

    assert code == 64
    assert "flywheel init" in error


def test_status_names_run_decisions_and_what_is_deployed(applied: Domain, flywheel) -> None:
    deployed = applied.query("SELECT model_id FROM deployments")[0]["model_id"]

    code, out, _ = flywheel(applied, "status")

    assert code == 0
    assert "done" in out
    assert "iteration 1: Promote" in out
    assert f"deployed now: {deployed}" in out
    assert json.loads(flywheel(applied, "status", "--json")[1])["deployments"][0]["model_id"] == deployed


def test_status_before_the_first_run(domain: Domain, flywheel) -> None:
    code, out, _ = flywheel(domain, "status")

    assert code == 0
    assert "no run yet" in out


def test_query_gives_a_table_or_json(applied: Domain, flywheel) -> None:
    sql = "SELECT outcome, count(*) AS n FROM judged GROUP BY outcome ORDER BY outcome"

    table = flywheel(applied, "query", sql)[1]
    rows = json.loads(flywheel(applied, "query", sql, "--json")[1])

    assert [row["outcome"] for row in rows] == ["fail", "pass"]
    assert all(str(row["n"]) in table for row in rows)


def test_a_query_may_call_text_what_is_json_elsewhere(applied: Domain, flywheel) -> None:
    sql = """SELECT request->>'$.task' AS request, 'more' AS row, summary FROM calls, nodes LIMIT 1"""

    code, out, error = flywheel(applied, "query", sql, "--json")

    assert code == 0, error
    [found] = json.loads(out)
    assert (found["request"], found["row"]) == ("colour", "more")
    assert isinstance(found["summary"], dict)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM scores",
        "UPDATE decisions SET outcome = 'promote'",
        "SELECT * FROM read_text('colours.py')",
        "COPY scores TO 'stolen.csv'",
        "SELECT nothing FROM nowhere",
        "ATTACH 'other.duckdb'",
        "SET enable_external_access = true",
        "this is no SQL",
        "",
    ],
)
def test_query_can_neither_write_nor_read_files(applied: Domain, flywheel, sql: str) -> None:
    code, out, error = flywheel(applied, "query", sql)

    assert code == 64, out
    assert "Traceback" not in error
    assert not (applied.root / "stolen.csv").exists()


def test_query_before_the_first_run_says_so(domain: Domain, flywheel) -> None:
    code, _, error = flywheel(domain, "query", "SELECT 1")

    assert code == 1
    assert "no store yet" in error


def test_show_follows_a_lesson_from_the_failure_to_the_scores(applied: Domain, flywheel) -> None:
    kept = applied.query("SELECT candidate_id, lesson_id FROM dataset WHERE origin = 'new' ORDER BY ALL LIMIT 1")[0]

    code, out, _ = flywheel(applied, "show", kept["candidate_id"], "--columns")

    assert code == 0
    titles = [line for line in out.splitlines() if line.isupper()]
    for title in ("FAILURE", "CALL", "CANDIDATE", "VERDICT", "JUDGED", "CURATION", "DATASET ROW", "ADAPTER", "SCORES"):
        assert title in titles
    assert flywheel(applied, "show", kept["lesson_id"], "--columns")[1] == out
    assert json.loads(flywheel(applied, "show", kept["candidate_id"][:10], "--json")[1])


def test_show_tells_a_life_in_the_order_in_which_it_happened(applied: Domain, flywheel) -> None:
    kept = applied.query("SELECT candidate_id, lesson_id FROM dataset WHERE origin = 'new' ORDER BY ALL LIMIT 1")[0]

    code, out, _ = flywheel(applied, "show", kept["lesson_id"])

    assert code == 0
    heads = [line.split()[0] for line in out.splitlines() if not line.startswith(" ")]
    assert list(dict.fromkeys(heads)) == ["answer", "failure", "call", "candidate", "adapter"]
    said = [
        f"candidate {kept['candidate_id']} (i1.generate.", "all together: pass", "i1.curate: kept, rank ",
        f"i1.curate: lesson {kept['lesson_id']}, new: ", "(i1.train): ", "as candidate", "i1.gate: ",
    ]  # fmt: skip
    places = [out.index(words) for words in said]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("answers", "answer_id"),
        ("failures", "failure_id"),
        ("calls", "key"),
        ("adapters", "model_id"),
        ("scores", "item_id"),
        ("dataset", "lesson_id"),
    ],
)
def test_show_knows_every_kind_of_id(applied: Domain, flywheel, table: str, column: str) -> None:
    for row in applied.query(f"SELECT DISTINCT {column} AS id FROM {table} ORDER BY 1 LIMIT 3"):
        code, out, error = flywheel(applied, "show", row["id"])
        assert code == 0, error
        assert out.strip()


def test_show_of_an_unknown_id_says_how_to_find_one(applied: Domain, flywheel) -> None:
    code, _, error = flywheel(applied, "show", "0123456789abcdef")

    assert code == 64
    assert "flywheel query" in error


def test_report_prints_the_path_or_which_there_are(applied: Domain, flywheel) -> None:
    assert flywheel(applied, "report", "1")[1].strip().endswith("iter-001/index.html")

    code, _, error = flywheel(applied, "report", "7")

    assert code == 64
    assert "iter-001" in error


def test_graph_draws_every_node_and_edge(domain: Domain, flywheel) -> None:
    plan = domain.plan()
    dot = flywheel(domain, "graph")[1]
    mermaid = flywheel(domain, "graph", "--mermaid")[1]

    assert all(f'"{node.name}"' in dot for node in plan.nodes)
    assert dot.count("->") == mermaid.count("-->") == sum(len(node.parents) for node in plan.nodes)


def test_rollback_without_a_deployment_is_a_usage_error(domain: Domain, flywheel) -> None:
    code, _, error = flywheel(domain, "rollback")

    assert code == 64
    assert "nothing was ever deployed" in error


def test_schema_prints_json(domain: Domain, flywheel) -> None:
    assert json.loads(flywheel(domain, "schema")[1])["title"]


def test_the_doctor_has_a_line_for_each_part_of_a_project(domain: Domain, flywheel) -> None:
    code, out, _ = flywheel(domain, "doctor")

    assert code == 0
    for name in ("python", "packages", ".pth files", "sandbox", "device", "disk", "project"):
        assert f"ok       {name} " in out or f"warning  {name} " in out


def test_the_doctor_exits_with_1_where_something_is_broken(
    domain: Domain, flywheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flywheel.engine import doctor

    monkeypatch.setattr(doctor, "disk", lambda free: doctor.Diagnosis("disk", "broken", "0.0 GiB free", "Free some."))

    code, out, _ = flywheel(domain, "doctor", "--json")

    assert code == 1
    assert {"name": "disk", "outcome": "broken", "text": "0.0 GiB free", "mend": "Free some."} in json.loads(out)


def test_version_is_printed(tmp_path: Path, flywheel) -> None:
    assert flywheel(Domain(tmp_path), "--version") == (0, f"flywheel {version('flywheel-loop')}\n", "")


def test_flywheel_alone_shows_the_help(tmp_path: Path, flywheel) -> None:
    code, _, error = flywheel(Domain(tmp_path))

    assert code == 64
    assert error.startswith("Usage: flywheel")


@pytest.mark.parametrize(
    ("shell", "word"), [("bash", "complete -o"), ("zsh", "#compdef"), ("fish", "complete --command")]
)
def test_each_shell_is_given_its_completion(
    tmp_path: Path, flywheel, monkeypatch: pytest.MonkeyPatch, shell: str, word: str
) -> None:
    # Typer looks which shell started it; what starts the tests may be none.
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: shell)

    code, out, _ = flywheel(Domain(tmp_path), "--show-completion")

    assert code == 0
    assert word in out
    assert "_FLYWHEEL_COMPLETE" in out


def test_a_shell_that_asks_is_told_how_a_command_goes_on(tmp_path: Path) -> None:
    asked = {"_FLYWHEEL_COMPLETE": "complete_bash", "COMP_WORDS": "flywheel va", "COMP_CWORD": "1"}

    ended = subprocess.run(
        Domain.command(stand_in=False), cwd=tmp_path, env={**os.environ, **asked}, capture_output=True, text=True
    )

    assert ended.stdout.split() == ["validate"]


def test_the_end_says_what_was_promoted_and_what_can_be_done_next(domain: Domain, flywheel) -> None:
    _, out, _ = flywheel(domain, "apply")

    promoted, ask, look, go_on = out.splitlines()[-4:]
    deployed = domain.query("SELECT model_id FROM deployments")[0]["model_id"]
    assert promoted == f"promoted in iteration 1; deployed: {deployed} (iteration 1)"
    assert look.split() == ["look:", "flywheel", "report", "--open"]
    assert go_on.split() == ["go", "on:", "flywheel", "apply", "--iterations", "2"]
    command = shlex.split(ask.removeprefix("  ask it:"))
    assert flywheel(domain, *command[1:])[0] == 0


def test_the_next_commands_name_a_spec_of_another_name(domain: Domain, flywheel) -> None:
    (domain.root / "flywheel.yaml").rename(domain.root / "other.yaml")

    _, out, _ = flywheel(domain, "apply", "--file", "other.yaml")

    assert all("--file other.yaml" in line for line in out.splitlines()[-3:])


def test_a_run_that_fails_names_no_file_that_is_not_there(domain: Domain, flywheel) -> None:
    domain.edit(lambda spec: spec["verifiers"].update(right={"kind": "python", "function": "colours.py:broken"}))
    (domain.root / "colours.py").open("a").write("\n\ndef broken(subject):\n    raise RuntimeError('no')\n")

    code, out, error = flywheel(domain, "apply")

    assert code == 1, error
    assert "reports" not in out
    assert "flywheel apply" in out


def test_without_anything_to_do_the_last_line_of_json_still_tells_the_exit_code(applied: Domain, flywheel) -> None:
    code, out, error = flywheel(applied, "apply", "--json")

    assert (code, error) == (0, "")
    (only,) = [json.loads(line) for line in out.splitlines()]
    assert (only["event"], only["exit_code"], only["ran"], only["left"]) == ("run_ended", 0, 0, 0)


def test_json_is_valid_whatever_number_is_in_it(applied: Domain, flywheel) -> None:
    _, out, _ = flywheel(applied, "query", "SELECT 'nan'::DOUBLE AS a, '-inf'::DOUBLE AS b, 0.5 AS c", "--json")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads(out, parse_constant=refuse) == [{"a": None, "b": None, "c": "0.5"}]


@pytest.mark.parametrize(
    "command",
    [
        ["validate"], ["plan"], ["graph"], ["apply"], ["status"], ["query", "SELECT 1"], ["ask", "t", "a=b"],
        ["ingest", "log.jsonl"], ["forget", "r1"],
        ["show", "0123456789"], ["report"], ["approve", "1", "--by", "me"], ["reject", "1", "--by", "me"], ["audit"],
        ["compare", "--untargeted"], ["diff", "1", "2"], ["rollback"], ["base"], ["export", "out"],
        ["export-dataset", "out"], ["serve"], ["watch", "--once"], ["certify", "1"], ["review"], ["modes"],
        ["track", "mlflow"],
    ],
)  # fmt: skip
def test_outside_of_a_project_every_command_says_so(tmp_path: Path, flywheel, command: list[str]) -> None:
    code, out, error = flywheel(Domain(tmp_path), *command)

    assert (code, out) == (64, "")
    assert error.startswith("flywheel: flywheel.yaml: there is no spec here. Run `flywheel init`")
    assert list(tmp_path.iterdir()) == []


def test_every_command_that_needs_a_project_is_tried_outside_of_one() -> None:
    import typer

    from flywheel.cli.commands import app

    tried = test_outside_of_a_project_every_command_says_so.pytestmark[0].args[1]
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert {command[0] for command in tried} == set(commands) - {"schema", "init", "doctor", "verify"}


def test_the_base_of_a_project_is_told_to_stock_tools_and_a_built_in_one_to_whoever_asks(
    domain: Domain, flywheel, tmp_path: Path
) -> None:
    outside = tmp_path / "elsewhere" / "my student"
    outside.parent.mkdir()
    (domain.root / "student").rename(outside)
    domain.edit(lambda spec: spec["student"].update(base=str(outside)))

    assert flywheel(domain, "base") == (0, f"{outside}\n", "")
    assert flywheel(domain, "base", "my student") == (0, f"{outside}\n", "")
    code, out, error = flywheel(domain, "base", "another")
    assert (code, out) == (64, "")
    assert 'the base of flywheel.yaml is "my student", not "another"' in error
    code, out, error = flywheel(Domain(tmp_path), "base", "builtin:tiny")
    assert (code, error) == (0, "")
    assert (Path(out.strip()) / "config.json").exists()


def test_a_report_is_opened_or_one_line_says_that_there_is_no_browser(
    applied: Domain, flywheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: bool(opened.append(address)))
    code, out, error = flywheel(applied, "report", "--open")
    assert (code, len(out.splitlines()), len(error.splitlines())) == (0, 1, 1)
    assert "no browser" in error

    monkeypatch.setattr("webbrowser.open", lambda address: not opened.append(address))
    assert flywheel(applied, "report", "--open")[2] == ""
    assert opened[0].startswith("file://")


def test_status_during_a_run_is_a_sentence(domain: Domain, flywheel) -> None:
    from flywheel.engine.events import EventLog

    log = EventLog(domain.root / ".flywheel" / "runs" / "r" / "events.jsonl", lambda event: None)
    log.emit("run_started", run_id="r", name="x", iterations=1, nodes=[["i1.probe", "probe", 1, "new"]] * 3)
    log.emit("node_done", node="i1.probe", seconds=1.0)
    log.emit("node_started", node="i1.train", kind="train", iteration=1)
    log.progress("i1.train", done=3, total=40, what="steps", loss=0.5)
    hold = (
        "from pathlib import Path\nfrom flywheel.store import Store\nstore = Store(Path('.flywheel/flywheel.duckdb'))\n"
    )
    waiting = [sys.executable, "-c", f"{hold}print('held', flush=True)\ninput()"]
    with subprocess.Popen(waiting, cwd=domain.root, stdin=-1, stdout=-1, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        code, out, error = flywheel(domain, "status")
        told = json.loads(flywheel(domain, "status", "--json")[1])
        holder.communicate("\n")

    assert (code, error) == (0, "")
    assert "lock" not in out
    assert out.startswith("run r is running since ")
    assert "1 of 3 steps done." in out
    assert "3/40 steps  loss 0.500" in out
    assert told["run"]["status"] == "running"
    assert "run r was killed, 1 of 3 steps done; `flywheel apply` goes on" in flywheel(domain, "status")[1]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("name", ["PLAN", "FAULTS"])
def test_colours_are_for_terminals_and_change_no_word(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from flywheel.console import colour

    text = (
        "iteration 1\n  + probe                        new      ~1.0 s\n"
        "warning: flywheel.yaml:3:7: no\n    rank: x\n          ^\nflywheel.yaml: valid"
    )
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown, plain, bare = Terminal(), io.StringIO(), Terminal()
    colour.say(text, getattr(colour, name), shown)
    colour.say(text, getattr(colour, name), plain)
    monkeypatch.setenv("NO_COLOR", "1")
    colour.say(text, getattr(colour, name), bare)

    assert re.search("\x1b\\[3[0-9]m", shown.getvalue())
    assert not re.search("\x1b\\[[0-9;]*3[0-9]m", bare.getvalue())
    for stream in (shown, plain, bare):
        assert re.sub("\x1b\\[[0-9;]*m", "", stream.getvalue()) == text + "\n"
