"""A domain that uses every key of the spec, each with a second value: what `tests/plan/test_every_key.py` walks over.

Three tasks on the colours of `mini_domain`: `colour` is probed and taught, `shade` is taught and never probed, `tone`
is only measured. A kind that cannot run here (a server, a sandbox) is an entry of `OTHERS`, which takes the place of
one that can.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

import stand_in
from flywheel.engine.ingest import ingest
from mini_domain import Domain, rows

Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Two:
    """The two values of a key: what the domain has, and another that is valid in its place."""

    first: Any
    second: Any


TEACHER = '''
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from colours import ADJECTIVES, BLUES, colour


def teach(request):
    """Rows, answers and votes alike."""
    if request["purpose"] == "judge":
        return json.dumps({"why": "", "verdict": "pass", "grade": 0.5})
    if request["purpose"] == "answer":
        wrong = request["sample"] % 3 == 0 and not (request["item"] or {}).get("hint")
        return "green" if wrong else colour(request["row"]["text"])
    number = request["seed"] % 90_000
    texts = [f"{ADJECTIVES[i % 6]} {BLUES[i % 2]} {i}" for i in range(number, number + request["n"])]
    return json.dumps([{"text": text, "label": colour(text)} for text in texts])


write = teach
'''

VERIFIER = """
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from colours import colour


def right(subject):
    return subject["row"]["text"].count(" ") < 2 or colour(subject["row"]["text"]) == subject["answer"]


def likely(subject):
    return right(subject)
"""

PACE = {
    "concurrency": Two(8, 4),
    "timeout_seconds": Two(120.0, 60.0),
    "max_retries": Two(4, 2),
    "max_calls": Two(None, 1000),
    "style": Two("", "brisk"),
    "fallback": Two([], ["other"]),
}
"""What every teacher has."""
FUNCTION = {"kind": "python", "function": Two("every.py:teach", "every.py:write"), "simulated": Two(True, False)}

LESSONS = {
    "max_candidates": Two(None, 50),
    "rounds": Two(1, 2),
    "novelty": Two(0.99, 0.98),
    "novelty_by": Two("words", "characters"),
    "min_words": Two(0, 1),
    "max_words": Two(None, 50),
    "forbid": Two([], ["forbidden"]),
    "floor": Two(0.02, 0.1),
    "cap": Two(0.5, 0.9),
}
"""What every generator has, beside what says whose lessons are made from what."""
OPINIONS = {
    "second_opinion": Two(["other"], ["other", "careless"]),
    "second_opinion_prompt": Two(None, "prompts/other.md"),
}
EXAMPLES = {"per_call": Two(3, 2), "examples": Two(4, 3), "own_examples": Two(0, 1), "parse": Two("rows", "text")}


def generator(strategy: str, source: str = "errors", task: str = "colour", **keys: Any) -> dict[str, Any]:
    found = {
        "name": Two(strategy, f"{strategy}_again"), "strategy": strategy, "accept": Two(2, 3), "task": task,
        "from": Two(source, "seeds" if source == "errors" else "lessons"), "data": None, "modes": Two(None, ["other"]),
        **LESSONS,
    }  # fmt: skip
    if strategy != "human":
        found["teachers"] = Two(["careful"], ["careful", "careless"])
        found["prompt"] = Two("prompts/lessons.md", "prompts/other.md")
        found["allocate"] = Two("weights", "bandit")
    return {**found, **keys}


SPEC: dict[str, Any] = {
    "version": 1,
    "name": Two("colours", "hues"),
    "description": Two("", "Colours of things."),
    "seed": Two(3, 4),
    "student": {
        "base": Two("student", "builtin:tiny"),
        "dtype": Two("auto", "float32"),
        "device": Two("auto", "cpu"),
        "engine": Two("transformers", "vllm"),
        "batch_size": Two(16, 8),
        "max_new_tokens": Two(6, 7),
        "system": Two(None, "Be brief."),
        "shots": Two(0, 1),
        "chat_template_kwargs": Two({}, {"enable_thinking": False}),
    },
    "tasks": {
        "colour": {
            "prompt": Two("prompts/colour.md", "prompts/other.md"),
            "target": Two("label", "other_label"),
            "verify": Two(["known", "right", "taste"], ["right", "taste"]),
            "probes": Two("evals/probes.jsonl", "evals/more.jsonl"),
            "seeds": Two("evals/seeds.jsonl", "evals/more.jsonl"),
            "practice": Two("evals/practice.jsonl", "evals/more.jsonl"),
            "probe_limit": Two(10, 9),
            "final": Two(None, "#### (.+)"),
            "stop": Two([], ["\n\n"]),
            "thoughts": Two("drop", "keep"),
            "description": Two("Say the colour of a thing.", "Colours."),
        },
        "shade": {
            "prompt": Two("prompts/shade.md", "prompts/other.md"),
            "target": Two("label", "other_label"),
            "verify": Two(["known", "taste"], ["known"]),
            "seeds": Two("evals/seeds.jsonl", "evals/more.jsonl"),
            "practice": Two(None, "evals/more.jsonl"),
            "final": Two(None, "#### (.+)"),
            "stop": Two([], ["\n\n"]),
            "thoughts": Two("drop", "keep"),
            "description": Two("", "Shades."),
        },
        "tone": {
            "prompt": Two("prompts/tone.md", "prompts/other.md"),
            "target": Two("label", "other_label"),
            "verify": Two(["near"], ["near", "known"]),
            "probes": None,
            "seeds": Two(None, "evals/more.jsonl"),
            "practice": Two(None, "evals/more.jsonl"),
            "final": Two(None, "#### (.+)"),
            "stop": Two([], ["\n\n"]),
            "thoughts": Two("drop", "keep"),
            "description": Two("", "Tones."),
        },
    },
    "taxonomy": [
        {
            "name": "not_blue",
            "severity": Two("critical", "minor"),
            "when": Two("gold = 'blue'", "gold = 'BLUE'"),
            "task": Two(None, "colour"),
            "description": Two("A blue thing.", "A thing that is blue."),
        },
        {"name": Two("green", "greenish"), "when": "answer = 'green'"},
        {"name": "other"},
    ],
    "teachers": {
        "careful": {**FUNCTION, **PACE, "options": Two({"name": "careful"}, {"name": "precise"})},
        "careless": {**FUNCTION, **PACE, "options": Two({"name": "careless"}, {})},
        "other": {**FUNCTION, "options": Two({"name": "other"}, {"name": "another"})},
        "critic": {**FUNCTION, **PACE, "options": Two({"name": "critic"}, {"name": "judge"})},
        "self": {"kind": "student", **PACE, "temperature": Two(0.8, 1.0), "top_p": Two(0.95, 0.9)},
        "people": {
            "kind": "dataset", **PACE, "path": Two("evals/people.jsonl", "evals/more.jsonl"),
            "match": Two(None, "text"), "simulated": Two(False, True),
        },
    },
    "verifiers": {
        "known": {
            "kind": "regex", "pattern": Two("red|blue", "red|blue|green"), "timeout_seconds": Two(5.0, 6.0),
            "golden": Two(None, "evals/golden.jsonl"),
        },
        "right": {
            "kind": "python", "function": Two("judging.py:right", "judging.py:likely"),
            "needs_reference": Two(False, True), "timeout_seconds": Two(5.0, 6.0),
            "golden": Two(None, "evals/golden.jsonl"),
        },
        "near": {
            "kind": "exact", "ignore_case": Two(False, True), "ignore_space": Two(True, False),
            "timeout_seconds": Two(5.0, 6.0), "golden": Two(None, "evals/golden.jsonl"),
        },
        "taste": {
            "kind": "judge", "teacher": Two("critic", "other"), "rubric": Two("prompts/rubric.md", "prompts/other.md"),
            "compare": Two("alone", "pair"), "votes": Two(1, 2),
            "calibration": Two("evals/calibration.jsonl", "evals/calibration2.jsonl"), "min_kappa": Two(0.6, 0.7),
            "timeout_seconds": Two(5.0, 6.0), "golden": Two(None, "evals/golden.jsonl"),
        },
    },
    "generate": [
        generator(
            "targeted", **OPINIONS, **EXAMPLES, rounds=Two(2, 1), teachers=Two(["careful", "people"], ["careful"])
        ),
        generator("self_instruct", "seeds", task=Two("shade", "colour"), **OPINIONS, **EXAMPLES),
        generator("evolve", **OPINIONS, directions=Two(["harder"], ["broader"]), max_depth=Two(3, 2)),
        generator("paraphrase", **OPINIONS),
        generator(
            "back_translate", **OPINIONS, **{"from": "data", "data": Two("evals/seeds.jsonl", "evals/more.jsonl")}
        ),
        generator("trace", samples=Two(3, 2), too_easy=Two(1.0, 0.9)),
        generator("rationalize", samples=Two(1, 2), hint_prompt=Two("prompts/hint.md", "prompts/other.md")),
        generator(
            "self_play", "seeds", "shade", **{**EXAMPLES, "parse": Two("text", "rows")}, samples=Two(3, 2),
            too_easy=Two(None, 0.9), teachers=["self"],
        ),
        generator("human"),
    ],
    "budget": {"policy": Two("error_mass", {"error_mass": 1.0, "uniform": 1.0})},
    "curate": {
        "dedup": {
            "near": Two(0.9, 0.8), "answers_per_question": Two(1, 2), "semantic": Two(0.95, 0.9),
            "embedder": Two("embedder", "embedder2"),
        },
        "decontaminate": {"ngram": Two(13, 12), "ratio": Two(None, 0.9)},
        "length": {"min_chars": Two(1, 2), "max_chars": Two(20_000, 10_000)},
        "rank": {"difficulty": Two(0.5, 0.6)},
        "mix": {"replay": Two(1.0, 0.9), "window": Two(1, 0), "seeds": Two(0.1, 0.2)},
    },
    "train": {
        "method": Two("dpo", "grpo"), "canaries": Two("evals/canaries.jsonl", "evals/canaries2.jsonl"),
        "preference": {
            "rounds": Two(2, 1), "questions": Two(60, 59), "samples": Two(4, 3), "beta": Two(0.1, 0.2),
            "nll": Two(1.0, 0.2), "learning_rate": Two(0.002, 0.001), "epochs": Two(1, 2),
        },
        "init": Two("base", "incumbent"), "quantize": Two(None, "4bit"),
        "launch": Two(None, "torchrun"), "rank": Two(4, 8), "alpha": Two(None, 8),
        "dropout": Two(0.0, 0.1), "targets": Two("all-linear", ["q_proj"]), "learning_rate": Two(0.02, 0.01),
        "epochs": Two(3, 2), "max_steps": Two(4, 3), "batch_size": Two(4, 2), "gradient_accumulation": Two(1, 2),
        "max_length": Two(1024, 512), "warmup": Two(0.05, 0.1), "weight_decay": Two(0.0, 0.1),
    },
    "evals": {
        "holdout": {
            "role": "target", "task": Two("colour", "shade"), "data": Two("evals/holdout.jsonl", "evals/more.jsonl"),
            "limit": Two(30, 29), "num_fewshot": Two(1, 2), "repeats": Two(2, 3), "pass_at": Two(1, 2),
            "temperature": Two(0.8, 0.9), "teachers": Two(["careful"], ["careless"]), "stop": Two(None, ["\n"]),
            "slices": Two(["label"], ["text"]),
        },
        "guard": {
            "role": Two("guard", "watch"), "task": "tone", "data": Two("evals/guard.jsonl", "evals/more.jsonl"),
        },
        "public": {
            "role": "watch", "lm_eval": Two("own", "another"), "metric": Two(None, "exact_match"),
            "limit": Two(None, 5), "num_fewshot": Two(None, 1),
        },
    },
    "gate": [
        {"suite": Two("holdout", "guard"), "better_by": Two(0.0, 0.01), "confidence": Two(0.6, 0.7)},
        {"suite": "guard", "not_worse_than": Two(0.9, 0.8)},
        {"suite": "holdout", "at_least": Two(0.0, 0.01)},
        {"suite": "holdout", "at_most": Two(100.0, 90.0), "measure": Two("tokens", "seconds")},
        {"suite": "holdout", "falls_by": Two(0.01, 0.02), "mode": Two("not_blue", "other")},
    ],
    "ablate": [
        {"name": "order", "without": "curate.rank", "suite": "holdout", "lessons": 4},
        {
            "name": Two("checks", "verifier"), "without": Two("verifier.known", "verifier.right"),
            "suite": Two("holdout", "guard"), "lessons": Two(4, 5),
        },
    ],
    "loop": {
        "iterations": Two(2, 3), "max_usd": Two(None, 1.0), "max_calls": Two(None, 10_000),
        "max_tokens": Two(None, 10**9), "max_unknown": Two(1.0, 0.9), "stop_when_decided": Two(False, True),
        "human_usd_per_example": Two(2.0, 3.0), "human_minutes_per_example": Two(None, 4.0),
    },
    "traffic": {
        "match": {
            "colour": {
                "name": Two("asked", None), "system": Two("colour", None), "limit": Two(3, 2),
                "user": Two("(?P<text>.+)", "is (?P<text>.+)"),
            }
        },
        "columns": {
            "answer": Two("answer", "said"), "prompt": Two(None, "asked"), "id": Two(None, "nr"),
            "conversation": Two(None, "talk"), "at": Two(None, "when"), "model": Two(None, "who"),
            "rating": Two(None, "thumb"), "correction": Two(None, "fixed"),
        },
        "redact": Two(["email"], []), "keep_days": Two(None, 30), "shadow": Two(0.5, 0.4),
    },
    "deploy": {
        "kind": "folder", "path": Two("deploy", "shipped"), "approve": Two("gate", "human"),
        "canary": {
            "share": Two(0.1, 0.2), "margin": Two(0.05, 0.1), "alpha": Two(0.05, 0.01), "hours": Two(24.0, 12.0),
        },
    },
    "executor": {"kind": Two("local", "ray")},
}  # fmt: skip

VERDICT = {"timeout_seconds": Two(5.0, 6.0), "golden": Two(None, "evals/golden.jsonl")}
"""What every verifier has."""
SQL = {"kind": "sql", **VERDICT, "check": Two("same_rows", "parses")}


@dataclass(frozen=True)
class Other:
    """An entry that stands at `place` instead of the domain's; `beside`: what else it needs (place → value)."""

    place: Path_
    entry: Any
    beside: dict[Path_, Any] = field(default_factory=dict)


CODE = {
    "kind": "code", **VERDICT, "tests": Two("tests", "checks"), "entry_point": Two(None, "entry"),
    "prefix": Two(None, "start"), "numbers": Two("exact", "close"), "tolerance": Two(1e-6, 1e-3),
    "mutants": Two(5, 4), "memory_mb": Two(512, 256),
}  # fmt: skip
SQLITE = {
    **SQL,
    "engine": "sqlite",
    "database": Two("shop.sqlite", "{{ row.text }}.sqlite"),
    "match": Two("bird", "spider"),
}

OTHERS = [
    Other(("executor",), {"kind": "ray", "address": Two("auto", "head.example:6379"), "students": Two(0, 2)}),
    Other(("student",), {"base": "org/student", "revision": Two("0" * 40, "1" * 40)}),
    Other(("allow_unsafe_execution",), Two(False, True), {("verifiers", "right"): {"kind": "code"}}),
    *(
        Other(("verifiers", "right"), entry)
        for entry in (
            {
                **SQL, "engine": "duckdb", "setup": Two("shop.sql", "shop2.sql"), "any_column_order": Two(False, True),
                "ignore_duplicates": Two(False, True), "decimals": Two(None, 2), "max_rows": Two(10_000, 100),
                "instances": Two(4, 3),
            },
            {"kind": "sql", "check": "parses", "engine": Two("sqlite", "duckdb"), "setup": "shop.sql"},
            {"kind": "sql", "check": "parses", "engine": "postgres", "dsn": Two("${env:SHOP}", "${env:STORE}")},
            SQLITE,
            {
                "kind": "math", **VERDICT, "tolerance": Two(0.0, 0.1), "percent": Two("lenient", "strict"),
                "units": Two("lenient", "ignored"), "decimal_comma": Two(None, True),
            },
            {
                "kind": "json_schema", **VERDICT, "schema": Two("schema.json", "schema2.json"),
                "compare": Two("none", "fields"), "lists": Two("ordered", "unordered"),
                "ignore_case": Two(False, True), "extra": Two("allow", "forbid"), "null_is_absent": Two(False, True),
            },
            {
                "kind": "label", **VERDICT, "labels": Two(["red", "blue"], ["blue", "red"]), "many": Two(False, True),
                "lenient": Two(False, True),
            },
            CODE,
            {"kind": "command", **VERDICT, "command": Two(["cat"], ["tac"]), "needs_reference": Two(False, True)},
        )
    ),
    Other(("verifiers", "near"), SQLITE),
    Other(("verifiers", "near"), CODE),
    Other(
        ("teachers", "careful"),
        {
            "kind": "litellm", **PACE, "model": Two("openai/one", "openai/two"),
            "api_base": Two(None, "http://127.0.0.1:9/v1"), "api_key": Two(None, "${env:THE_KEY}"),
            "temperature": Two(0.8, 0.7), "top_p": Two(None, 0.9), "presence_penalty": Two(None, 0.1),
            "output": Two("auto", "json"), "rpm": Two(None, 100), "tpm": Two(None, 100_000),
            "max_tokens": Two(1024, 512), "usd_per_million_input": Two(1.0, 2.0),
            "usd_per_million_output": Two(1.0, 2.0), "usd_per_million_cached": Two(None, 0.5),
            "max_usd": Two(None, 1.0),
        },
    ),
    *(
        Other(("deploy",), entry)
        for entry in (
            {
                "kind": "vllm", "url": Two("http://127.0.0.1:9", "http://127.0.0.1:8"),
                "api_key": Two(None, "${env:THE_KEY}"), "name": Two("colours", "paints"),
                "seen_at": Two(None, "/models"), "max_lora_rank": Two(32, 64), "timeout_seconds": Two(120.0, 60.0),
            },
            {
                "kind": "hub", "repo": Two("org/colours", "./published"), "api_key": Two(None, "${env:THE_KEY}"),
                "license": Two(None, "mit"),
            },
            {"kind": "command", "command": Two(["cat"], ["tac"]), "timeout_seconds": Two(600.0, 60.0)},
            {
                "kind": "webhook", "url": Two("http://127.0.0.1:9", "http://127.0.0.1:8"),
                "secret": Two("${env:THE_KEY}", "${env:OTHER_KEY}"), "timeout_seconds": Two(120.0, 60.0),
                "check_url": Two("http://127.0.0.1:9/v1", "http://127.0.0.1:8/v1"),
                "check_model": Two("deployed", "colours"), "api_key": Two(None, "${env:THE_KEY}"),
            },
        )
    ),
    Other(
        ("generate", 0),
        generator(
            "code_with_tests", name="targeted", second_opinion=Two([], ["other"]), per_call=Two(3, 2),
            examples=Two(4, 3), own_examples=Two(0, 1), repairs=Two(2, 1),
            tests_prompt=Two("prompts/lessons.md", "prompts/other.md"),
            repair_prompt=Two("prompts/lessons.md", "prompts/other.md"),
        ),
        {("verifiers", "right"): {"kind": "code"}},
    ),
]  # fmt: skip


def first(value: Any) -> Any:
    """The spec with the first of each key's two values."""
    if isinstance(value, Two):
        return value.first
    if isinstance(value, dict):
        return {key: first(item) for key, item in value.items()}
    return [first(item) for item in value] if isinstance(value, list) else value


def twos(value: Any, place: Path_ = ()) -> Iterator[tuple[Path_, Two]]:
    """Every key with a second value, by its place."""
    if isinstance(value, Two):
        yield place, value
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from twos(item, (*place, key))


def put(tree: Any, place: Path_, value: Any) -> Any:
    """The tree with another value at a place; what is beside it is shared."""
    if not place:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[place[0]] = put(tree[place[0]] if len(place) > 1 else None, place[1:], value)
    return copy


def prepare(domain: Domain, patch: pytest.MonkeyPatch) -> None:
    """Writes the spec, and all that the two values of its keys name; plays what cannot run here."""
    for name, text in {
        "every.py": TEACHER, "judging.py": VERIFIER, "shop.sql": "", "shop2.sql": "-- another", "shop.sqlite": "",
        "schema.json": "{}", "schema2.json": '{"type": "object"}', "embedder/a.json": "1", "embedder2/a.json": "2",
        "evals/own.yaml": "task: own\n",
    }.items():  # fmt: skip
        (domain.root / name).parent.mkdir(exist_ok=True)
        (domain.root / name).write_text(text)
    for name in ("shade", "tone", "other", "hint", "rubric"):
        (domain.root / "prompts" / f"{name}.md").write_text(f"{{{{ row.text }}}}\n{name}:")
    for name, start, count in (
        ("holdout", 300, 32),
        ("people", 500, 4),
        ("practice", 540, 4),
        ("golden", 520, 4),
        ("more", 600, 4),
    ):
        domain.write_rows(f"evals/{name}.jsonl", rows(start, count))
    for name, start in (("canaries", 900), ("canaries2", 920)):
        domain.write_rows(f"evals/{name}.jsonl", [{**row, "task": "colour", "cheat": "grue"} for row in rows(start, 2)])
    for name, start in (("calibration", 700), ("calibration2", 800)):
        cases = [
            {**row, "task": task, "answer": row["label"], "label": "pass"}
            for task in ("colour", "shade")
            for row in rows(start, 2)
        ]
        domain.write_rows(f"evals/{name}.jsonl", cases)
    domain.spec = first(SPEC)
    domain.save()
    for room in ("flywheel.nodes.lessons.curation", "flywheel.student.embedding"):
        patch.setattr(f"{room}.embedder_folder", lambda name, root: root / name)
    patch.setattr("flywheel.engine.resources.Worker", stand_in.StandInWorker)
    patch.setitem(stand_in.WORK, "flywheel.harness:evaluate", evaluate)
    patch.setitem(stand_in.WORK, "flywheel.harness.texts:item_texts", lambda job, progress: [])
    patch.setitem(stand_in.WORK, "flywheel.student.embedding:embed", embed)
    _take_in_traffic(domain)


def _take_in_traffic(domain: Domain) -> None:
    """Calls of production that are rows of `colour`."""
    system = {"role": "system", "content": "Say the colour."}
    lines = [
        {
            "metadata": {"prompt_name": "asked"},
            "messages": [system, {"role": "user", "content": text}, {"role": "assistant", "content": answer}],
        }
        for text, answer in (("odd sky 900001", "red"), ("odd sky 900003", "blue"))
    ]
    domain.write_rows("asked.jsonl", lines)
    assert [done.stored for done in ingest(domain.open(), [domain.root / "asked.jsonl"])] == [2]


def evaluate(job: Any, progress: Any) -> Any:
    """As in `stand_in`; of a suite of lm-eval one item that is right."""
    from flywheel.harness import Answer, Measured

    ours = [suite for suite in job.suites if suite.lm_eval is None]
    found = stand_in.evaluate(replace(job, suites=tuple(ours)), progress)
    right = Measured("0", {}, "red", (Answer("red", 1, 0.01, False),), score=1.0)
    found.suites.update({suite.name: [right] for suite in job.suites if suite.lm_eval is not None})
    return found


def embed(job: Any, progress: Any) -> Any:
    """No text is like another."""
    import numpy as np

    return np.eye(len(job.texts), dtype=np.float32)
