"""A certificate: the decision derived again where nothing else is, and every edit noticed."""

from __future__ import annotations

import copy
import gzip
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flywheel.engine.certifying import certify, verify
from flywheel.errors import Tampered, UsageError
from flywheel.gate.grounds import Grounds
from flywheel.hashing import canonical
from flywheel.nodes.trust.certificate import Certificate, checked, read_part, sealed
from flywheel.records.decision import PairedItem
from flywheel.spec.models import GateRule
from flywheel.store import Store
from mini_domain import BLUES, REDS, Domain


@pytest.fixture(scope="module")
def written(_applied_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("certified") / "project"
    shutil.copytree(_applied_once, root, symlinks=True)
    from flywheel.engine.project import open_project

    certify(open_project(root / "flywheel.yaml"), 1, root.parent / "first.json")
    return root.parent / "first.json"


@pytest.fixture
def certificate(written: Path, tmp_path: Path) -> Path:
    """Iteration 1's, in a folder where nothing else is."""
    (tmp_path / "elsewhere").mkdir()
    return Path(shutil.copy(written, tmp_path / "elsewhere" / "first.json"))


def document_in(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def differing(path: Path, **against: Any) -> list[str]:
    return [check.what for check in verify(path, **against).checks if not check.holds]


# --- writing and deriving again ---------------------------------------------------------------------------------------


def test_the_decision_is_derived_again_when_the_project_is_gone(applied: Domain, flywheel: Any, tmp_path: Path) -> None:
    code, said, _ = flywheel(applied, "certify", "1", "--out", str(tmp_path / "one.json.gz"))
    assert (code, said.split(":")[0]) == (0, str(tmp_path / "one.json.gz"))
    shutil.rmtree(applied.root)
    applied.root.mkdir()

    code, said, _ = flywheel(applied, "verify", str(tmp_path / "one.json.gz"))

    assert code == 0
    assert said.rstrip().endswith("agree: promote follows from what is certified")
    assert "holdout better_by 0.05" in said
    assert "guard not_worse_than 0.9" in said


def test_the_same_decision_is_the_same_bytes(applied: Domain, tmp_path: Path) -> None:
    for name in ("a.json.gz", "b.json.gz"):
        certify(applied.open(), 1, tmp_path / name)
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()


def test_no_text_of_a_row_or_answer_is_in_it(certificate: Path) -> None:
    read = json.dumps(document_in(certificate)["read"])
    assert not [word for word in (*REDS, *BLUES, '"red"', '"blue"') if word in read]


def test_clusters_keep_their_order_and_lose_their_names() -> None:
    items = [PairedItem(str(i), 0.2 * (i % 3), 0.3 * (i % 4), cluster=f"customer {i % 40:02d}") for i in range(120)]
    grounds = Grounds([GateRule(suite="s", better_by=0.0)], {"s": items}, seed=7)
    written = read_part(grounds)
    assert "customer" not in json.dumps(written)
    again = grounds.__class__(
        grounds.rules, {"s": [PairedItem(**item) for item in written["suites"]["s"]]}, seed=written["seed"]
    )
    assert again.decide() == grounds.decide()


def test_an_edited_store_is_not_certified(applied: Domain, tmp_path: Path) -> None:
    with Store(applied.root / ".flywheel" / "flywheel.duckdb") as store, store.transaction() as transaction:
        transaction.execute("UPDATE scores SET score = 1 WHERE arm = 'incumbent'")
    with pytest.raises(Tampered, match="edited in the store"):
        certify(applied.open(), 1, tmp_path / "one.json")
    assert not (tmp_path / "one.json").exists()


@pytest.mark.parametrize(("iteration", "words"), [(2, "trained no candidate"), (9, "has no report yet")])
def test_what_was_not_judged_is_not_certified(applied: Domain, tmp_path: Path, iteration: int, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        certify(applied.open(), iteration, tmp_path / "one.json")


# --- edits ------------------------------------------------------------------------------------------------------------


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every leaf of a document."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*path, key))
    else:
        yield path


def other_than(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1 if isinstance(value, int) else (0.25 if value != 0.25 else 0.75)
        case str():
            return value + "x" if value else "x"
    return 0.5


def edited(document: dict[str, Any], path: tuple[Any, ...], new: Callable[[Any], Any] = other_than) -> dict[str, Any]:
    found = copy.deepcopy(document)
    place = found
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = new(place[path[-1]])
    return found


def agrees(path: Path) -> bool:
    """What is no certificate any more agrees with nothing."""
    try:
        return verify(path).agrees
    except UsageError:
        return False


VALUES = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(0, 1) | st.text(max_size=3) | st.just([])


@settings(max_examples=150, deadline=None, database=None)
@given(st.data())
def test_any_edit_is_noticed(written: Path, data: st.DataObject) -> None:
    document = document_in(written)
    path = data.draw(st.sampled_from(list(places(document))))
    changed = written.with_name("changed.json")
    found = edited(document, path, lambda old: data.draw(st.just(other_than(old)) | VALUES))
    assume(canonical(found) != canonical(document))
    changed.write_text(json.dumps(found))
    assert not agrees(changed), path


def resealed(path: Path, document: dict[str, Any]) -> Path:
    path.write_text(json.dumps(sealed(document)))
    return path


@pytest.mark.parametrize(
    ("place", "noticed"),
    [
        (("read", "rules", 0, "better_by"), "holdout better_by"),
        (("read", "suites", "holdout", 0, "candidate"), "holdout better_by"),
        (("read", "suites", "guard", 0, "candidate"), "guard not_worse_than"),
        (("read", "suites", "guard", 0, "item_id"), "items"),
        (("decision", "rules", 0, "p_value"), "holdout better_by"),
        (("decision", "rules", 1, "low"), "guard not_worse_than"),
        (("decision", "look"), "decision hash"),
        (("decision", "outcome"), "outcome"),
        (("decision", "preconditions", 0, "holds"), "outcome"),
        (("hashes", "adapter"), "decision hash"),
        (("hashes", "dataset"), "decision hash"),
        (("hashes", "files", "evals/holdout.jsonl"), "decision hash"),
        (("decision_hash",), "decision hash"),
    ],
)  # fmt: skip
def test_who_also_mends_the_hash_over_the_whole_is_found_out_by_the_decision(
    certificate: Path, place: tuple[Any, ...], noticed: str
) -> None:
    found = differing(resealed(certificate, edited(document_in(certificate), place)))
    assert any(what.startswith(noticed) for what in found), found
    assert "certificate" not in found


def test_a_rule_that_was_taken_out_is_missed(certificate: Path) -> None:
    document = document_in(certificate)
    del document["read"]["rules"][1]
    assert "outcome" in differing(resealed(certificate, document))


def test_an_edited_certificate_ends_with_1_and_says_what_differs(
    applied: Domain, flywheel: Any, certificate: Path
) -> None:
    certificate.write_text(json.dumps(edited(document_in(certificate), ("read", "suites", "holdout", 0, "candidate"))))
    code, said, _ = flywheel(applied, "verify", str(certificate))
    assert code == 1
    assert "DIFFERS  certificate" in said
    assert "disagree: " in said
    code, said, _ = flywheel(applied, "verify", str(certificate), "--json")
    assert (code, json.loads(said)["agrees"]) == (1, False)


BROKEN = {
    "empty": b"", "no JSON": b"{", "another thing": b"[]", "a list of rules": b'{"certificate": 1}',
    "twice": b'{"certificate": 1, "certificate": 1}', "torn": gzip.compress(b"{}" * 500)[:40], "bytes": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_certificate_is_said_to_be_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "c.json").write_bytes(BROKEN[name])
    with pytest.raises(UsageError, match="not a certificate"):
        verify(tmp_path / "c.json")


@pytest.mark.parametrize("part", ["rules", "preconditions", "look", "holdout"])
def test_a_decision_without_a_part_is_no_certificate(certificate: Path, part: str) -> None:
    document = document_in(certificate)
    del document["decision"][part]
    resealed(certificate, document)
    with pytest.raises(UsageError, match="not a certificate"):
        verify(certificate)


# --- against a project ------------------------------------------------------------------------------------------------


def test_the_project_that_it_is_of_agrees(applied: Domain, certificate: Path) -> None:
    assert differing(certificate, project=applied.root) == []
    report = applied.root / "reports" / "iter-001"
    assert differing(certificate, spec=applied.root / "flywheel.yaml", report=report / "index.html") == []


def test_each_part_that_is_another_is_named(applied: Domain, certificate: Path) -> None:
    adapter = applied.root / document_in(certificate)["adapter_path"]
    edits = {
        "spec": applied.root / "flywheel.yaml", "report": applied.root / "reports" / "iter-001" / "report.json",
        "adapter": adapter / "adapter_model.safetensors", "holdout": applied.root / "evals" / "holdout.jsonl",
    }  # fmt: skip
    for what, path in edits.items():
        before = path.read_bytes()
        path.write_bytes(before + b" ")
        assert differing(certificate, project=applied.root) == [what]
        path.unlink()
        assert differing(certificate, project=applied.root) == [what]
        path.write_bytes(before)


def test_another_store_is_named(applied: Domain, certificate: Path) -> None:
    with Store(applied.root / ".flywheel" / "flywheel.duckdb") as store, store.transaction() as transaction:
        transaction.execute("UPDATE scores SET answer = 'x' WHERE arm = 'incumbent'")
    assert differing(certificate, project=applied.root) == ["scores"]
    shutil.rmtree(applied.root / ".flywheel")
    assert {"adapter", "store"} <= set(differing(certificate, project=applied.root))


def test_a_path_that_is_not_there_is_refused(certificate: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--spec"):
        verify(certificate, spec=tmp_path / "none.yaml")


def test_the_document_is_described_by_its_class(certificate: Path) -> None:
    document = document_in(certificate)
    assert set(document) == set(Certificate.model_fields)
    assert all(check.holds for check in checked(document, Certificate.model_validate(document)))
