"""Before a promotion both models answer rows of production that no lesson came from; the report shows the change."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from flywheel.engine.forget import forget
from flywheel.nodes.measuring.production import is_kept
from mini_domain import Domain, judged_by_labels
from mini_traffic import answered, matching, said, take_in
from stand_in import StandInWorker

ROWS = 60


def texts(count: int = ROWS) -> list[str]:
    return [f"old {('sky', 'rose')[n % 2]} {900_000 + n}" for n in range(count)]


def shadowed(domain: Domain, share: float | None = 0.5, **match: Any) -> Domain:
    matching(domain, **match)
    return domain.edit(lambda spec: spec["traffic"].update(shadow=share))


def summary_of(domain: Domain, kind: str = "shadow") -> dict[str, Any]:
    return dict(domain.query("SELECT summary FROM nodes WHERE kind = ? ORDER BY started_at DESC", [kind])[0]["summary"])


def sources(domain: Domain, kind: str) -> set[str]:
    rows = domain.query(
        "SELECT source_id FROM answers a JOIN nodes n USING (node) WHERE n.kind = ? AND source_id IS NOT NULL", [kind]
    )
    return {row["source_id"] for row in rows}


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Domain:
    """One iteration whose candidate is promoted."""
    domain = shadowed(Domain.written(tmp_path_factory.mktemp("shadow") / "project"))
    kept = [n for n, text in enumerate(texts()) if is_kept("colour", {"text": text}, 0.5)]
    blue = [n for n in kept if n % 2 == 0]
    lines = [answered(n, text, "red") for n, text in enumerate(texts())]
    words = [said(blue[0], None, "blue"), said(blue[1], -1), said(kept[0], 1)]
    take_in(domain, [*lines, answered(ROWS, texts()[kept[0]], "red"), *words])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flywheel.engine.resources.Worker", StandInWorker)
        assert not domain.apply().error
    return domain


def test_rows_are_kept_by_what_they_say_alone() -> None:
    sides = [is_kept("colour", {"text": text}, 0.2) for text in texts(4_000)]
    assert 0.17 < sum(sides) / len(sides) < 0.23
    assert not any(is_kept("colour", {"text": text}, None) for text in texts())
    again = [is_kept("colour", {"text": f"  Old {text[4:]}?"}, 0.2) for text in texts(4_000)]
    assert again == sides, "spacing and plain case make no other question"
    assert sides != [is_kept("shade", {"text": text}, 0.2) for text in texts(4_000)]


def test_no_lesson_comes_from_what_is_replayed(replayed: Domain) -> None:
    mined, kept = sources(replayed, "mine"), sources(replayed, "shadow")
    assert mined
    assert kept
    assert not mined & kept
    assert len(mined | kept) == ROWS + 1
    assert summary_of(replayed, "mine")["left_out"] == {"overlap": 0, "columns": 0, "shadow": len(kept)}
    failed = replayed.query("SELECT source_id FROM failures JOIN answers USING (answer_id) WHERE source_id IS NOT NULL")
    assert {row["source_id"] for row in failed} <= mined


def test_what_would_have_changed_is_counted_and_judged(replayed: Domain) -> None:
    found = summary_of(replayed)
    kept = sources(replayed, "shadow")
    blue = sum(int(source[1:]) % 2 == 0 and source != f"r{ROWS}" for source in kept)
    # The incumbent is the base, which says "red" to everything; the candidate has learned the blue nouns.
    assert found["models"]["candidate"] == replayed.query("SELECT candidate_id FROM decisions")[0]["candidate_id"]
    assert found["rows"] == len(kept)
    assert found["questions"] == len(kept) - 1
    assert found["as_logged"] == len(kept)
    assert found["rows"] - found["same"] == found["fixed"] > 0
    assert found["fixed"] <= blue + 1
    assert found["broken"] == 0
    assert found["judged"] == len(kept)
    assert found["judged_by"]["correction"] == 1
    assert found["judged_by"]["rating"] >= 1
    assert sum(found["judged_by"].values()) == len(kept)
    assert found["difference"]["low"] <= found["fixed"] / len(kept) <= found["difference"]["high"]
    assert found["difference"]["value"] == pytest.approx(found["fixed"] / len(kept))


def test_the_report_and_the_summary_say_it_with_examples(replayed: Domain) -> None:
    folder = replayed.root / "reports" / "iter-001"
    [shadow] = json.loads((folder / "report.json").read_text())["shadow"]
    assert shadow["fixed"] == summary_of(replayed)["fixed"]
    assert {(e["incumbent_answer"], e["candidate_answer"]) for e in shadow["examples"]} == {("red", "blue")}
    page = (folder / "index.html").read_text()
    assert "What changes in production: the shadow replay" in page
    assert f"{shadow['fixed']} become right and 0 wrong" in page
    assert f"Shadow replay, colour: {shadow['rows']} rows of production" in (folder / "summary.md").read_text()
    assert replayed.query(shadow["query"])[0]["task"] == "colour"
    assert len(replayed.query(shadow["examples_query"])) == len(shadow["examples"])


def test_the_model_is_deployed_after_the_replay(replayed: Domain) -> None:
    ended = {row["kind"]: row for row in replayed.query("SELECT kind, started_at, ended_at FROM nodes")}
    assert ended["shadow"]["ended_at"] <= ended["report"]["started_at"] <= ended["deploy"]["started_at"]


def test_who_is_forgotten_is_forgotten_in_both_answers(replayed: Domain, tmp_path: Path) -> None:
    domain = Domain(shutil.copytree(replayed.root, tmp_path / "copy"), replayed.spec)
    source = sorted(sources(domain, "shadow"))[0]
    count = "SELECT count(*) AS n FROM answers WHERE source_id = ?"
    assert domain.query(count, [source]) == [{"n": 2}]
    forget(domain.open(), source)
    assert domain.query(count, [source]) == [{"n": 0}]
    assert {node.status for node in domain.plan().of("shadow")} == {"reused"}


def test_where_nothing_is_kept_the_plan_is_the_one_that_it_was(domain: Domain) -> None:
    matching(domain)
    before = {node.name: node.fingerprint for node in domain.plan().nodes}
    shadowed(domain, None)
    assert {node.name: node.fingerprint for node in domain.plan().nodes} == before
    shadowed(domain, 0.5)
    assert [node.name for node in domain.plan().of("shadow")] == ["i1.shadow.colour"]


def test_what_comes_in_after_the_others_were_looked_at_is_the_next_iterations(domain: Domain) -> None:
    shadowed(domain)
    take_in(domain, [answered(n, text, "red") for n, text in enumerate(texts(20))])
    domain.apply(until="curate")
    take_in(domain, [answered(100 + n, text, "red") for n, text in enumerate(texts(40))], "later.jsonl")
    assert not domain.apply().error
    assert sources(domain, "mine") | sources(domain, "shadow") == {f"r{n}" for n in range(20)}


def test_rows_that_overlap_a_training_row_are_left_out(domain: Domain) -> None:
    shadowed(domain)
    take_in(domain, [answered(n, text, "red") for n, text in enumerate(texts(20))])
    kept = [text for text in texts(20) if is_kept("colour", {"text": text}, 0.5)]
    seeds = [{"text": text, "label": "blue" if "sky" in text else "red"} for text in kept[:3]]
    domain.write_rows("evals/seeds.jsonl", seeds)
    domain.edit(lambda spec: spec.setdefault("curate", {}).setdefault("mix", {}).update(seeds=1.0))
    assert not domain.apply().error
    found = summary_of(domain)
    assert (found["left_out"], found["rows"]) == (3, len(kept) - 3)
    assert (
        "3 rows left out, for they overlap training rows"
        in (domain.root / "reports" / "iter-001" / "index.html").read_text()
    )


@pytest.mark.parametrize(("taught", "why"), [(True, "none is there yet"), (False, "nothing was trained")])
def test_without_rows_or_a_candidate_it_says_so(domain: Domain, taught: bool, why: str) -> None:
    shadowed(domain)
    if not taught:
        take_in(domain, [answered(n, text, "red") for n, text in enumerate(texts(20))])
        domain.edit(lambda spec: spec["generate"][0].update(accept=1, teachers={"careless": 1.0}))
        domain.edit(lambda spec: spec["teachers"]["careless"]["options"].update(wrong=1.0))
    assert not domain.apply().error
    assert summary_of(domain)["why"] == why
    assert (
        f"no row of production was replayed: {why}" in (domain.root / "reports" / "iter-001" / "summary.md").read_text()
    )


def test_where_nobody_can_judge_only_the_change_is_told(domain: Domain) -> None:
    shadowed(judged_by_labels(domain, "red", "blue"))
    take_in(domain, [answered(n, text, "red") for n, text in enumerate(texts(20))])
    domain.apply()
    found = summary_of(domain)
    assert found["judged"] == 0
    assert found["difference"] is None
    assert found["rows"] > 0
    summary = (domain.root / "reports" / "iter-001" / "summary.md").read_text()
    assert f"{found['rows'] - found['same']} in others. Nobody can say which are right." in summary


@pytest.mark.parametrize("share", [0, 1, 1.5, -0.1])
def test_a_share_that_is_none_is_refused(domain: Domain, flywheel: Any, share: float) -> None:
    shadowed(domain, share)
    code, _, error = flywheel(domain, "validate")
    assert code != 0
    assert "traffic.shadow" in error


def test_a_share_of_nothing_is_refused(domain: Domain, flywheel: Any) -> None:
    domain.edit(lambda spec: spec.update(traffic={"shadow": 0.2}))
    code, _, error = flywheel(domain, "validate")
    assert code != 0
    assert "traffic.shadow" in error
    assert "traffic.match" in error
