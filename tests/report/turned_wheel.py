"""A project whose wheel has turned four times, for the report's tests: all that a page can show happens in it.

What colour is a thing? The noun says. Iteration 1 is promoted; in iteration 2 the training goes wrong, and it is
rejected; iteration 3 makes good for it; iteration 4 finds nothing left to learn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from aiohttp import web
from stub_server import Hit, StubServer, completion, says

import stand_in
from flywheel.engine.approval import speak
from flywheel.engine.audit import audit
from flywheel.engine.compare import compare_untargeted
from flywheel.report import Report, ReportFacts, assemble
from flywheel.verifiers import Checker
from mini_domain import ADJECTIVES, Domain

#: Error mode → the noun that has it.
MODES = {"air": "sky", "water": "sea", "cloth": "jeans", "other": "sapphire"}
BLUES = tuple(MODES.values())
#: Nobody can tell its colour: the verdict is unknown.
FOGGY = "foggy sky 3998"
#: Once its noun is learned, the student takes the brick for sky.
TWO_NOUNS = ("old brick sky 3990", "new brick sky 3991")
#: In small batches the student is not sure of them.
UNSTEADY = "old brick"
#: Longer than what the student can read.
ENDLESS = "grand sea 3999" + " and on" * 90
CONTEXT = 512

CODE = '''
import json

MODES, BLUES, ADJECTIVES = {modes!r}, {blues!r}, {adjectives!r}


def colour(text):
    return "blue" if text.split()[1] in BLUES else "red"


def right(subject):
    if subject["row"]["text"].startswith("foggy"):
        raise ValueError("nothing to be seen")
    return colour(subject["row"]["text"]) == subject["answer"], "by the noun"


def teach(request):
    careless = request["options"].get("careless", False)
    if request["purpose"] == "answer":
        wrong = careless and request["seed"] % 4 == 0
        return "green" if wrong else colour(request["row"]["text"])
    if careless and request["sample"] % 5 == 1:
        return "No rows today."
    rows = []
    for i in range(request["n"]):
        number = (request["seed"] + 7919 * i) % 90_000 + 10_000
        noun = MODES.get(request["mode"]) or ("rose", "ruby", "sky")[number % 3]
        text = f"{{ADJECTIVES[number % 6]}} {{noun}} {{number}} seen from the old harbour wall"
        rows += careless_rows(text, i) if careless else [{{"text": text, "label": colour(text)}}]
    return json.dumps(rows)


def careless_rows(text, place):
    """A wrong answer; one in fog, one from the holdout, one that rambles; and one twice, in nearly the same words."""
    if place == 0:
        return [{{"text": text, "label": "green"}}, {{"text": text + " again", "label": "red"}}]
    if place == 1:
        return [{{"text": "foggy " + text, "label": "blue"}}, {{"text": "old sky 3100", "label": "blue"}},
                {{"text": text + " and" * 30, "label": "blue"}}]
    return [{{"text": text, "label": colour(text)}}, {{"text": text.replace("seen", "as seen"), "label": colour(text)}}]
'''


def colour_of(noun: str) -> str:
    return "blue" if noun in BLUES else "red"


def things(start: int, counts: Mapping[str, int], **more: Any) -> list[dict[str, Any]]:
    """So many rows of each noun."""
    nouns = [noun for noun, count in counts.items() for _ in range(count)]
    return [
        {"text": f"{ADJECTIVES[i % 6]} {noun} {start + i}", "label": colour_of(noun), **more}
        for i, noun in enumerate(nouns)
    ]


def tagged(start: int, nouns: Sequence[str]) -> list[dict[str, str]]:
    return [
        {"text": f"old {noun} {start + i}", "tags": "blue, cold" if noun in BLUES else "red, warm"}
        for i, noun in enumerate(nouns)
    ]


# --- those who write, judge and learn ---------------------------------------------------------------------------------


async def vendor(hit: Hit) -> web.StreamResponse:
    """A model behind a server, with a price: it writes rows, gives second opinions, and judges."""
    prompt, body = hit.prompt, hit.body
    usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": 12}
    if body["model"] == "critic":
        good = any(f'"answer": "{tags}"' in prompt for tags in ("blue, cold", "red, warm"))
        text = json.dumps({"why": "two tags", "verdict": "pass" if good else "fail", "grade": float(good)})
    elif prompt.startswith("Write"):
        start, noun = crc32(prompt.encode()) % 90_000, MODES[prompt.split()[4].rstrip(".")]
        lessons = [{"text": f"fine {noun} {start + i} at noon", "label": colour_of(noun)} for i in range(3)]
        text = json.dumps(lessons)
    else:
        text = colour_of(prompt.split()[1])
    finish = "length" if "at length" in prompt else "stop"
    return await says({**completion(text, finish, usage), "model": body["model"]})(hit)


def evaluate(job: Any, progress: Any) -> Any:
    """As the stand-in; but a prompt may be too long, an answer run on, or be another one in a small batch."""
    measured = stand_in.evaluate(job, progress)
    small = job.asking.batch_size < 16
    return replace(
        measured,
        suites={name: [_answered(item, name, small) for item in found] for name, found in measured.suites.items()},
    )


def _answered(item: Any, suite: str, small: bool) -> Any:
    if len(item.asked) > CONTEXT:
        return replace(item, answers=(), problem=f"a prompt of {len(item.asked)} tokens does not fit")
    text = item.answers[0].text
    if suite == "tags":
        text = f"tags: {text}, warm" + ("\nQuestion: and a rose?" if "rose" in item.asked else "")
    if small and UNSTEADY in item.asked:
        text = "blue"
    return replace(item, answers=(replace(item.answers[0], text=text),))


def train(job: Any, progress: Any) -> Any:
    """As the stand-in, with a curve."""
    steps = [{"step": n, "epoch": n / 4, "loss": 2 / n, "learning_rate": 0.1, "tokens": 9 * n} for n in range(1, 9)]
    return replace(stand_in.train(job, progress), losses=steps)


def train_wrongly(job: Any, progress: Any) -> Any:
    """It learns that a cherry is blue, too."""
    return train(replace(job, rows=[*job.rows[1:], ("a cherry\ncolour:", "blue")]), progress)


# --- the project ------------------------------------------------------------------------------------------------------


def enriched(spec: dict[str, Any]) -> None:
    """The mini domain's spec, with all that a report can tell of."""
    python = {"kind": "python", "function": "colours.py:teach", "simulated": True}
    served = {
        "kind": "litellm",
        "api_base": "${env:VENDOR}",
        "usd_per_million_input": 3.0,
        "usd_per_million_output": 15.0,
    }
    spec.update(
        name="colours-of-things",
        description="What colour is a thing? The noun says.",
        taxonomy=[
            {"name": "air", "severity": "critical", "when": "row.text LIKE '% sky %'", "description": "In the air."},
            {"name": "water", "when": "row.text LIKE '% sea %'", "description": "In the water."},
            {"name": "cloth", "when": "row.text LIKE '% jeans %'", "description": "To wear."},
            {"name": "other", "severity": "minor", "description": "Whatever is left."},
        ],
        teachers={
            "careful": {**python, "style": "one row a line"},
            "careless": {**python, "options": {"careless": True}},
            "vendor": {**served, "model": "openai/vendor", "style": ["short", "at length"]},
            "critic": {**served, "model": "openai/critic"},
        },
        generate=[
            {
                "name": "targeted", "teachers": {"careful": 1.0, "careless": 3.0, "vendor": 2.0}, "accept": 24,
                "per_call": 3, "rounds": 2, "prompt": "prompts/lessons.md", "max_words": 20, "allocate": "bandit",
                "task": "colour",
            },
            {
                "name": "sampled", "strategy": "trace", "teachers": ["careless"], "samples": 4, "accept": 6,
                "rounds": 1, "modes": ["air"], "task": "colour",
            },
            {
                "name": "free", "strategy": "self_instruct", "from": "seeds", "teachers": ["careful"], "accept": 6,
                "rounds": 1, "second_opinion": ["vendor"], "novelty": 0.75, "prompt": "prompts/lessons.md",
                "task": "colour",
            },
        ],
        evals={
            "holdout": {
                "role": "target", "task": "colour", "data": "evals/holdout.jsonl", "slices": ["light"],
                "teachers": ["careless"],
            },
            "guard": {"role": "guard", "task": "colour", "data": "evals/guard.jsonl", "slices": ["light"]},
            "tags": {"role": "watch", "task": "tags", "data": "evals/tags.jsonl"},
        },
        gate=[{"suite": "holdout", "better_by": 0.05}, {"suite": "guard", "not_worse_than": 0.2}],
        ablate=[{"name": "the_noun", "without": "verifier.right", "suite": "guard", "lessons": 40}],
        loop={"iterations": 4, "max_unknown": 0.25},
        deploy={"approve": "human"},
    )  # fmt: skip
    spec["tasks"]["tags"] = {
        "prompt": "prompts/tags.md", "target": "tags", "final": "tags: (.+)", "verify": ["set", "apt"],
    }  # fmt: skip
    spec["verifiers"]["right"]["golden"] = "evals/golden.jsonl"
    spec["verifiers"] |= {
        "set": {"kind": "label", "labels": ["red", "blue", "warm", "cold"], "many": True},
        "apt": {
            "kind": "judge", "teacher": "critic", "rubric": "prompts/rubric.md", "calibration": "evals/people.jsonl",
        },
    }  # fmt: skip


def written(root: Path) -> Domain:
    domain = Domain.written(root).edit(enriched)
    code = CODE.format(modes=MODES, blues=BLUES, adjectives=ADJECTIVES)
    (root / "colours.py").write_text(code)
    (root / "prompts" / "tags.md").write_text("{{ row.text }}\ntags:")
    (root / "prompts" / "rubric.md").write_text("Are there two tags, of the colour and of the feel?")
    odd = [{"text": text, "label": "red", "light": "day"} for text in TWO_NOUNS]
    odd.append({"text": FOGGY, "label": "blue", "light": "night"})
    holdout = [
        *things(3100, {"sky": 10, "sea": 10, "jeans": 10}, light="day"),
        *things(3000, {"rose": 40, "brick": 10, "cherry": 6}, light="day"),
        *things(3200, {"sky": 6, "sea": 5, "jeans": 5, "sapphire": 14}, light="night"),
        *odd,
    ]
    domain.write_rows("evals/probes.jsonl", things(1000, {"rose": 21, "sky": 6, "sea": 6, "jeans": 6, "sapphire": 1}))
    domain.write_rows("evals/seeds.jsonl", things(2000, {"rose": 3, "ruby": 3, "sky": 2}))
    domain.write_rows("evals/holdout.jsonl", holdout)
    domain.write_rows("evals/guard.jsonl", things(4000, {"cherry": 24, "rose": 16}, light="day"))
    endless = {"text": ENDLESS, "tags": "blue, cold"}
    domain.write_rows("evals/tags.jsonl", [*tagged(5000, ["rose", "brick", "sky", "sea", "rose", "ruby"]), endless])
    domain.write_rows("evals/golden.jsonl", _golden())
    domain.write_rows("evals/people.jsonl", _people())
    return domain


def _golden() -> list[dict[str, str]]:
    """Cases of the verifier `right`: it is fooled by what a person sees, and by fog it is lost."""
    wrong = [
        {**row, "answer": "red" if row["label"] == "blue" else "blue"} for row in things(6000, {"sky": 5, "rose": 5})
    ]
    fooled = [{"text": f"old sky {6100 + i} at dusk", "label": "red", "answer": "blue"} for i in range(2)]
    lost = {"text": FOGGY, "label": "blue", "answer": "red"}
    return [{**row, "expect": "fail"} for row in (*wrong, *fooled, lost)]


def _people() -> list[dict[str, str]]:
    """What people said of tags; of the last one they did not think as the judge does."""
    rows = tagged(7000, [("rose", "sky")[i % 2] for i in range(12)])
    cases = [{**row, "answer": row["tags"], "label": "pass"} for row in rows]
    cases += [{**row, "answer": "red", "label": "fail"} for row in rows]
    return [*cases[:-1], {**cases[-1], "label": "pass"}]


# --- turning it -------------------------------------------------------------------------------------------------------


@dataclass
class Turned:
    """The project, and by iteration what its engine gave to `assemble`."""

    domain: Domain
    chains: dict[int, list[dict[str, list[str]]]] = field(default_factory=dict)
    facts: dict[int, ReportFacts] = field(default_factory=dict)

    def assemble(self, query: Any, iteration: int, chain: Any, facts: ReportFacts) -> Report:
        self.chains[iteration], self.facts[iteration] = chain, facts
        return assemble(query, iteration, chain, facts)


class KeptChecker(Checker):
    """Its process, which takes a second to start, serves all commands."""

    def _open(self, names: set[str]) -> None:
        super()._open(set(self._verifiers))

    def close(self) -> None:
        """Not between two commands."""


def turned(root: Path) -> Turned:
    """Audited, turned, approved and compared, as a person would by command."""
    work = {**stand_in.WORK, "flywheel.harness:evaluate": evaluate, "flywheel.training:train": train}
    with StubServer(usual=vendor) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("VENDOR", server.url)
        found = Turned(written(root))
        domain, project = found.domain, found.domain.open()
        checker = KeptChecker(project.spec.verifiers, root, workers=1)
        patch.setattr("flywheel.engine.resources.Checker", lambda *_, **__: checker)
        patch.setattr("flywheel.engine.resources.Worker", stand_in.StandInWorker)
        patch.setattr("flywheel.engine.asking.Worker", stand_in.StandInWorker)
        patch.setattr("stand_in.WORK", work)
        audit(project, limit=2)
        audit(project)
        with patch.context() as seen:
            seen.setattr("flywheel.report.assemble", found.assemble)
            domain.apply(iterations=1)
            speak(project, 1, "approve", "Ada", "looks right")
            with patch.context() as once:
                once.setitem(work, "flywheel.training:train", train_wrongly)
                domain.apply(iterations=2)
            domain.apply(iterations=3)
            speak(project, 3, "approve", "Ben")
            domain.apply()
        compare_untargeted(project, iterations=1, curve=True)
        Checker.close(checker)
    return found
