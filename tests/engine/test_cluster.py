"""The same wheel with a Ray cluster as judge: what it finds, decides and pays is what it is here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "executor"))

from ray_cluster import cluster_of

from flywheel.engine.resources import Resources
from flywheel.executor import WorkerCancelled, WorkerError
from flywheel.store import Store
from mini_domain import Domain

BILL = (
    "SELECT teacher, count(*) AS calls, sum(usd) AS usd, sum(attempts) AS attempts FROM calls GROUP BY ALL ORDER BY ALL"
)
VERDICTS = "SELECT node, subject_id, verifier, version, outcome, reason FROM verdicts ORDER BY ALL"
SCORES = "SELECT node, suite, arm, model_id, item_id, answer, outcome, score, tokens FROM scores ORDER BY ALL"
ANSWERS = "SELECT node, row_id, answer, tokens, truncated FROM answers ORDER BY ALL"
DONE = "SELECT node, name, rows_in, kept, rejected, failed FROM nodes ORDER BY ALL"


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    with cluster_of(2) as found:
        yield found


@pytest.mark.slow
def test_a_cluster_finds_decides_and_pays_what_this_machine_does(domain: Domain, tmp_path: Path, nodes: Any) -> None:
    domain.edit(lambda spec: spec["loop"].update(iterations=2))
    other = Domain.written(tmp_path / "other").edit(lambda spec: spec["loop"].update(iterations=2))
    other.edit(lambda spec: spec.update(executor={"kind": "ray", "address": nodes.address}))
    here, there = domain.apply(), other.apply()
    assert (there.exit_code, there.promoted, there.error) == (here.exit_code, here.promoted, here.error)
    assert other.outcome() == domain.outcome()
    for query in (BILL, VERDICTS, DONE):
        assert other.query(query) == domain.query(query)
    assert other.query("SELECT sandbox FROM runs") == domain.query("SELECT sandbox FROM runs")
    assert not other.plan().pending
    assert not other.edit(lambda spec: spec.pop("executor")).plan().pending, "nothing hangs on where it was judged"


@pytest.mark.slow
def test_students_on_a_cluster_answer_what_the_one_here_does(
    real_domain: Domain, mini_student: Path, tmp_path: Path
) -> None:
    other = Domain.written(tmp_path / "other", mini_student)
    with cluster_of(3) as nodes:
        other.edit(lambda spec: spec.update(executor={"kind": "ray", "address": nodes.address, "students": 2}))
        there = other.apply()
    here = real_domain.apply()
    assert (there.exit_code, there.promoted, there.error) == (here.exit_code, here.promoted, here.error)
    assert other.outcome() == real_domain.outcome()
    for query in (BILL, VERDICTS, DONE, SCORES, ANSWERS):
        assert other.query(query) == real_domain.query(query)
    assert not other.edit(lambda spec: spec.pop("executor")).plan().pending, "nothing hangs on where it was answered"


def test_a_cluster_that_is_not_there_stops_before_anything_is_asked(domain: Domain) -> None:
    pytest.importorskip("ray", reason='needs Ray: pip install "flywheel-loop[ray]"')
    domain.edit(lambda spec: spec.update(executor={"kind": "ray", "address": "127.0.0.1:9"}))
    with pytest.raises(WorkerError, match=r"nobody answers at executor\.address 127\.0\.0\.1:9 "):
        domain.apply()
    assert domain.calls("asked") == []


def test_a_run_that_was_stopped_does_not_join_the_cluster_again(domain: Domain) -> None:
    domain.edit(lambda spec: spec.update(executor={"kind": "ray", "address": "127.0.0.1:9", "students": 2}))
    project = domain.open()
    with Store(project.store_path) as store, Resources(project, store, "run") as resources:
        resources.stop()
        with pytest.raises(WorkerCancelled):
            resources.connect()


@pytest.mark.parametrize(
    ("executor", "word"),
    [
        ({"kind": "local", "address": "auto"}, "only a cluster has an address"),
        ({"students": 2}, "only a cluster has students"),
        ({"kind": "ray", "students": -1}, "executor.students"),
        ({"kind": "ray", "address": "ray://head:10001"}, "executor.address"),
        ({"kind": "ray", "address": "head"}, "executor.address"),
        ({"kind": "dask"}, "executor.kind"),
    ],
)
def test_an_executor_that_cannot_be_is_refused_at_its_place(domain: Domain, executor: Any, word: str) -> None:
    domain.edit(lambda spec: spec.update(executor=executor))
    with pytest.raises(Exception, match=word):
        domain.open()
