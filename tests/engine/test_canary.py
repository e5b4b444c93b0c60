"""A promotion under test while it is served: who answers whom, what counts, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the extra `serve` is not installed")
pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")

from flywheel.engine.serving import server as serving
from flywheel.engine.serving.canary import Trial, TrialStanding, _former, standing, trial_answers, unit_of
from flywheel.engine.serving.verdicts import _keep, judge_waiting, live_tasks, verdicts_of
from flywheel.nodes.trust.deployment import history_row
from flywheel.spec.targets import DeployCanary
from flywheel.store import Store
from mini_domain import Domain
from served_domain import Served, another, colour_of, deployed, point, running

BEGAN = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def trial(folder: Path, **settings: float) -> Trial:
    return Trial("new", "old", DeployCanary.model_validate({"share": 0.5, **settings}), folder / "canary")


def answer(number: int, model: str, name: str | None = "old-new", minutes: float = 0.0) -> dict[str, Any]:
    drawn = {"trial": name} if name else {}
    at = (BEGAN + timedelta(minutes=minutes)).isoformat()
    messages = [{"role": "user", "content": f"question {number}"}]
    asked = {"task": None, "row": None, "messages": messages, "prompt": None}
    return {"kind": "answer", "id": f"r{number}", "at": at, "model_id": model, **asked, **drawn, "answer": "x"}


def word(number: int, hours: float, **said: Any) -> dict[str, Any]:
    at = (BEGAN + timedelta(hours=hours)).isoformat()
    return {"kind": "feedback", "id": f"f{number}", "receipt": f"r{number}", "at": at, **said}


def counted(
    folder: Path, records: list[dict[str, Any]], hours: float = 48.0, **settings: float
) -> tuple[int, int, int]:
    served = folder / "served"
    served.mkdir(exist_ok=True)
    (served / "20260504T120000Z-1.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    found = standing(trial(folder, **settings), served, BEGAN + timedelta(hours=hours))
    return found.units, found.lost, found.lost_by_former


# --- who answers ------------------------------------------------------------------------------------------------------


def test_the_share_of_conversations_is_the_new_models(tmp_path: Path) -> None:
    drawn = [trial(tmp_path, share=0.1).takes(f"{number}") for number in range(20_000)]
    assert 0.09 < sum(drawn) / len(drawn) < 0.11


def test_a_conversation_is_known_by_its_beginning() -> None:
    first = answer(1, "old")
    later = {
        **first,
        "messages": [*first["messages"], {"role": "assistant", "content": "x"}, {"role": "user", "content": "y"}],
    }
    system = {**first, "messages": [{"role": "system", "content": "s"}, *first["messages"]]}
    assert unit_of(later) == unit_of(first)
    assert (
        len({unit_of(one) for one in (first, system, answer(2, "old"), {**first, "messages": None, "prompt": "q"})})
        == 4
    )


@pytest.mark.parametrize(
    ("history", "current", "former"),
    [
        ([], "b", None),
        ([("deploy", "b")], "b", None),
        ([("deploy", "b"), ("deploy", "a")], "b", "a"),
        ([("deploy", "a")], "b", "a"),  # an apply goes on, and the history does not know of it yet
        ([("deploy", "b"), ("deploy", "a")], "a", None),  # a rollback goes on
        ([("rollback", "a"), ("deploy", "b"), ("deploy", "a")], "a", None),
        ([("deploy", "c"), ("rollback", "a"), ("deploy", "b"), ("deploy", "a")], "c", "a"),
    ],
)
def test_the_former_model_is_the_one_that_was_promoted_over(
    history: list[tuple[str, str]], current: str, former: str | None
) -> None:
    assert _former([{"action": action, "model_id": model} for action, model in history], current) == former


# --- what counts ------------------------------------------------------------------------------------------------------


def test_a_thumb_down_and_a_correction_in_time_lose_a_conversation_once(tmp_path: Path) -> None:
    numbers = range(40)
    mine = {n for n in numbers if trial(tmp_path).takes(unit_of(answer(n, "")))}
    records = [answer(n, "new" if n in mine else "old") for n in numbers]
    said = [word(n, 1.0, rating=-1) for n in sorted(mine)[:3]] + [
        word(n, 2.0, correction="z") for n in sorted(mine)[:3]
    ]
    said += [word(n, 30.0, rating=-1) for n in sorted(mine)[3:5]]  # too late
    said += [word(n, 1.0, rating=1) for n in numbers]
    others = [word(n, 1.0, rating=-1) for n in sorted(set(numbers) - mine)[:2]]
    assert counted(tmp_path, [*records, *said, *others, word(999, 1.0, rating=-1)]) == (40, 3, 2)


def test_a_conversation_counts_when_it_is_over_and_only_if_it_was_drawn(tmp_path: Path) -> None:
    records = [
        answer(1, "old"),
        answer(2, "old", name=None),
        answer(3, "old", name="older-old"),
        answer(4, "old", minutes=90),
    ]
    assert counted(tmp_path, records, hours=24.5)[0] == 1
    assert counted(tmp_path, records, hours=26.0)[0] == 2
    began_before = {**answer(1, "old", name=None), "at": (BEGAN - timedelta(hours=1)).isoformat()}
    assert counted(tmp_path, [began_before, *records])[0] == 1


# --- on a server ------------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server looks all the time, from two days ahead."""
    monkeypatch.setattr(serving, "JUDGING_SECONDS", 0.05)
    monkeypatch.setattr(serving, "_now", lambda: datetime.now(UTC) + timedelta(days=2))


def promoted(domain: Domain, word_of: str, colour: str, **settings: float) -> tuple[str, str]:
    """Another model over the deployed one, as `deploy` leaves it: (former, new)."""
    domain.edit(lambda spec: spec.setdefault("deploy", {}).update(canary={"share": 0.5, **settings}))
    former = deployed(domain)
    new = another(domain, word_of, colour)
    manifest = json.loads((domain.root / "deploy" / new / "manifest.json").read_text())
    with Store(domain.root / ".flywheel" / "flywheel.duckdb") as store:
        history = store.query("SELECT * FROM deployments ORDER BY sequence")
        row = history_row(history, node="", action="deploy", iteration=2, manifest=manifest)
        store.write("deployments", [row])
        store.snapshot(domain.root / ".flywheel" / "snapshot.duckdb")
    point(domain, new)
    return former, new


def conversations(served: Served, count: int, right: str, until: Callable[[], bool] = lambda: False) -> Iterator[Any]:
    """Each about another thing; people say what they think of a wrong answer."""
    for number in range(count):
        if until():
            return
        said = served.ask({"text": f"old sky {number}"})
        assert said.status_code == 200
        if colour_of(said)[1] != right:
            body = {"receipt": said.headers["x-flywheel-receipt"], "rating": -1}
            assert served.post("/feedback", body).status_code == 200
        yield colour_of(said)


@pytest.mark.usefixtures("impatient")
def test_a_worse_model_is_rolled_back_by_itself_and_no_request_is_lost(applied: Domain, flywheel: Any) -> None:
    former, new = promoted(applied, "sky", "grey")
    with running(applied) as served:
        answers = list(conversations(served, 400, "blue", until=lambda: deployed(applied) == former))
        assert colour_of(served.ask({"text": "old sky 999"})) == (former, "blue")
    assert {model for model, _ in answers} == {former, new}
    assert served.said[1].startswith(f"canary: 50% of conversations go to {new}") or "canary: 50%" in served.said[0]
    assert any(f"canary: {new} is rolled back: " in said for said in served.said)
    history = applied.query("SELECT action, model_id FROM deployments ORDER BY sequence DESC LIMIT 1")
    assert history == [{"action": "rollback", "model_id": former}]
    assert f"canary: {new} rolled back: " in flywheel(applied, "status")[1]


@pytest.mark.usefixtures("impatient")
def test_an_equally_good_model_stays_and_answers_everybody_then(applied: Domain) -> None:
    _, new = promoted(applied, "sky", "blue", margin=0.5)
    with running(applied) as served:
        answers = list(conversations(served, 400, "blue", until=lambda: any("from now on:" in s for s in served.said)))
        after = {colour_of(served.ask({"text": f"old sky {number}"}))[0] for number in range(500, 512)}
        with served.http() as client:
            assert "canary" not in client.get("/health").json()
    assert {model for model, _ in answers} != {new}
    assert after == {new}
    assert deployed(applied) == new


def test_a_server_that_starts_again_goes_on_where_it_was(applied: Domain) -> None:
    former, new = promoted(applied, "sky", "grey")
    with running(applied) as served:
        before = list(conversations(served, 12, "blue"))
    with running(applied) as served:
        again = [colour_of(served.ask({"text": f"old sky {number}"})) for number in range(12)]
        with served.http() as client:
            assert client.get("/health").json()["canary"] == f"{former}-{new}"
    assert again == before
    assert {model for model, _ in before} == {former, new}
    settings = DeployCanary(share=0.5)
    found = standing(
        Trial(new, former, settings, applied.root / ".flywheel" / "canary"),
        applied.root / ".flywheel" / "served",
        datetime.now(UTC) + timedelta(days=2),
    )
    assert (found.units, found.lost_by_former) == (12, 0)
    assert found.lost == sum(model == new for model, _ in before)


def test_without_a_former_model_that_can_be_trusted_the_new_one_serves_everybody(applied: Domain) -> None:
    former, new = promoted(applied, "sky", "grey")
    page = applied.root / "deploy" / former / "README.md"
    page.write_text(page.read_text() + " ")
    with running(applied) as served:
        assert {colour_of(served.ask({"text": f"old sky {n}"}))[0] for n in range(8)} == {new}
    assert any(f"canary: without {former} there is no trial" in said for said in served.said)


def test_who_asks_for_the_model_by_its_id_gets_it_and_does_not_count(applied: Domain) -> None:
    _, new = promoted(applied, "sky", "grey")
    with running(applied) as served:
        said = {colour_of(served.ask({"text": f"old sky {n}"}, model=new))[0] for n in range(8)}
        assert said == {new}
        assert not any("trial" in record for record in served.records("answer"))


def test_without_a_canary_the_promoted_model_answers_everybody(applied: Domain) -> None:
    _, new = promoted(applied, "sky", "grey")
    applied.edit(lambda spec: spec["deploy"].pop("canary"))
    with running(applied) as served:
        assert {colour_of(served.ask({"text": f"old sky {n}"}))[0] for n in range(8)} == {new}


# --- what verifiers say of live answers -------------------------------------------------------------------------------


def matched(domain: Domain, **match: str) -> Domain:
    return domain.edit(lambda spec: spec.update(traffic={"match": {"colour": match}}))


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_verifiers_that_need_no_known_answer_roll_a_worse_model_back_though_nobody_complains(
    applied: Domain, flywheel: Any
) -> None:
    former, new = promoted(matched(applied), "sky", "grey")
    with running(applied) as served:
        for number in range(3_000):
            if deployed(applied) == former:
                break
            served.ask({"text": f"old sky {number}"})
        assert colour_of(served.ask({"text": "old sky 9999"})) == (former, "blue")
    [said] = [said for said in served.said if "is rolled back: " in said]
    assert "(0 by people's words, " in said
    assert f"{new} rolled back: " in flywheel(applied, "status")[1]
    assert "by verifiers, which could judge" in flywheel(applied, "status")[1]
    found = verdicts_of(applied.root / ".flywheel" / "canary" / f"{former}-{new}.verdicts.jsonl")
    colours = {record["id"]: record["answer"] for record in served.records("answer")}
    assert set(found.values()) == {"pass", "fail"}
    assert all((outcome == "fail") is (colours[receipt] == "grey") for receipt, outcome in found.items())


def judged_by_hand(domain: Domain, count: int = 12) -> TrialStanding:
    """Conversations on a server that does not look, and one look after they are over."""
    former, new = promoted(domain, "sky", "grey")
    with running(domain) as served:
        for number in range(count):
            assert served.ask({"text": f"old sky {number}"}).status_code == 200
    found = Trial(new, former, DeployCanary(share=0.5), domain.root / ".flywheel" / "canary")
    logs = domain.root / ".flywheel" / "served"
    project = domain.open()
    now = datetime.now(UTC) + timedelta(days=2)
    unjudged = standing(found, logs, now, verdicts_of(found.verdicts))
    assert unjudged.units == 0, "what waits for its verdict does not count yet"
    problem = judge_waiting(project, live_tasks(project), trial_answers(found, logs), found.verdicts, lambda: False)
    assert problem == ""
    return standing(found, logs, now, verdicts_of(found.verdicts))


def test_an_unknown_is_no_loss(applied: Domain) -> None:
    path = applied.root / "colours.py"
    path.write_text(
        path.read_text().replace('return colour(subject["row"]["text"])', 'os._exit(1); return colour("a b")')
    )
    matched(applied).edit(lambda spec: spec["tasks"]["colour"].update(verify=["right"]))
    found = judged_by_hand(applied, 1)
    assert (found.units, found.lost, found.lost_by_former, found.judged) == (1, 0, 0, 0)


def test_what_is_no_row_of_a_task_is_left_to_people(applied: Domain) -> None:
    found = judged_by_hand(matched(applied, name="another"))
    assert (found.units, found.lost, found.judged) == (12, 0, 0)


def test_a_conversation_is_lost_once_whoever_says_so(applied: Domain) -> None:
    found = judged_by_hand(matched(applied))
    assert (found.units, found.judged, found.by_people, found.lost_by_former) == (12, 12, 0, 0)
    assert found.lost == found.by_verifiers > 0
    logs = next((applied.root / ".flywheel" / "served").glob("*.jsonl"))
    grey = [record for record in map(json.loads, logs.read_text().splitlines()) if record["answer"] == "grey"]
    with logs.open("a") as handle:
        handle.write(json.dumps({**word(0, 0, rating=-1), "receipt": grey[0]["id"], "at": grey[0]["at"]}) + "\n")
    folder = applied.root / ".flywheel" / "canary"
    again = Trial("another", grey[0]["trial"].removesuffix("-another"), DeployCanary(share=0.5), folder)
    both = standing(again, logs.parent, datetime.now(UTC) + timedelta(days=2), verdicts_of(again.verdicts))
    assert (both.lost, both.by_people, both.by_verifiers) == (found.lost, 1, found.by_verifiers)


def test_a_judge_that_is_a_teacher_or_needs_a_known_answer_is_not_asked(applied: Domain) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["verifiers"]["same"] = {"kind": "exact"}
        spec["tasks"]["colour"]["verify"] = ["known", "same", "right", "judge"]
        judge = {
            "kind": "judge",
            "teacher": "careless",
            "rubric": "prompts/colour.md",
            "calibration": "evals/cases.jsonl",
        }
        spec["verifiers"]["judge"] = judge
        spec["generate"][0].update(teachers={"careful": 1.0}, second_opinion=["careless"])

    cases = [{"text": "old sky 1", "answer": "blue", "task": "colour"}]
    applied.write_rows("evals/cases.jsonl", [{**case, "label": "pass"} for case in cases])
    [task] = live_tasks(matched(applied.edit(change)).open())
    assert task.task.verify == ["known", "right"]
    assert live_tasks(applied.edit(lambda spec: spec.pop("traffic")).open()) == []


def test_verdicts_that_a_kill_cut_off_are_given_again_and_the_others_stay(tmp_path: Path) -> None:
    file = tmp_path / "a-b.verdicts.jsonl"
    _keep(file, {"r1": "pass", "r2": "fail"})
    file.write_bytes(file.read_bytes()[:-8])
    assert verdicts_of(file) == {"r1": "pass"}
    _keep(file, {"r2": "fail", "r3": "none"})
    assert verdicts_of(file) == {"r1": "pass", "r2": "fail", "r3": "none"}


def test_a_verifier_that_cannot_be_built_is_told_and_loses_nobody(applied: Domain) -> None:
    former, new = promoted(matched(applied), "sky", "grey")
    with running(applied) as served:
        assert served.ask({"text": "old sky 1"}).status_code == 200
    trial_ = Trial(new, former, DeployCanary(share=0.5), applied.root / ".flywheel" / "canary")
    project = applied.open()
    tasks = live_tasks(project)
    (applied.root / "colours.py").write_text("right = None")
    answers = trial_answers(trial_, applied.root / ".flywheel" / "served")
    problem = judge_waiting(project, tasks, answers, trial_.verdicts, lambda: False)
    assert "colours.py" in problem
    assert set(verdicts_of(trial_.verdicts).values()) == {"unknown"}


# --- in the report ----------------------------------------------------------------------------------------------------


def ended(domain: Domain, model: str, ending: str, at: str = "2026-05-05T12:00:00+00:00") -> Path:
    """What the server writes when a trial ends."""
    words = "1,219 conversations, of which the new model lost 90 and the former 14; it loses +5.4 to +9.1 points more"
    path = domain.root / ".flywheel" / "canary" / f"old-{model}.json"
    path.parent.mkdir(exist_ok=True)
    said = {"ending": ending, "model_id": model, "former_id": "old", "at": at, "settings": {}, "standing": {}}
    path.write_text(json.dumps({**said, "words": words}))
    return path


def candidate(domain: Domain) -> str:
    [row] = domain.query("SELECT candidate_id FROM decisions WHERE iteration = 1 AND outcome = 'promote'")
    return str(row["candidate_id"])


@pytest.mark.parametrize(("ending", "verdict"), [("lost", "rolled back"), ("kept", "stays")])
def test_what_live_traffic_found_is_in_the_overview_once_it_is_looked_at(
    applied: Domain, flywheel: Any, ending: str, verdict: str
) -> None:
    page = applied.root / "reports" / "index.html"
    before = page.read_bytes()
    assert flywheel(applied, "report")[0] == 0
    assert page.read_bytes() == before, "nothing ended"
    ended(applied, candidate(applied), ending)

    assert flywheel(applied, "report")[0] == 0

    assert f"on live traffic {verdict}: 1,219 conversations" in page.read_text()


def test_what_live_traffic_found_is_in_the_page_that_is_written_next(domain: Domain) -> None:
    assert not domain.apply(iterations=1).error
    first = candidate(domain)
    ended(domain, first, "lost")
    ended(domain, "somebody-else", "kept")

    assert not domain.apply(iterations=2).error

    folder = domain.root / "reports" / "iter-002"
    [live] = json.loads((folder / "report.json").read_text())["live"]
    assert (live["model_id"], live["former_id"], live["verdict"]) == (first, "old", "rolled back")
    assert "it loses +5.4 to +9.1 points more" in live["found"]
    for name in ("index.html", "summary.md"):
        assert "rolled back" in (folder / name).read_text()
    assert json.loads((domain.root / "reports" / "iter-001" / "report.json").read_text())["live"] == []


def test_a_record_of_a_live_test_that_was_edited_is_named(applied: Domain, flywheel: Any) -> None:
    path = ended(applied, candidate(applied), "lost")
    path.write_text(path.read_text()[:40])
    page = (applied.root / "reports" / "index.html").read_bytes()
    assert flywheel(applied, "report")[0] == 0
    assert (applied.root / "reports" / "index.html").read_bytes() == page
    code, _, error = flywheel(applied, "status")
    assert code != 0
    assert f"{path.name}: no record of a live test" in error
