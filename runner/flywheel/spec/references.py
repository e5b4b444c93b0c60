"""Cross-references: names that must exist, and combinations that would fail only after money is spent.

Each check takes the document (for places) and the outline (what is well-formed) and returns faults.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import get_args

from flywheel.errors import Fault, Path_
from flywheel.spec.document import Document
from flywheel.spec.models import GateRule, Loop, Measure, Preference, Suite, Train
from flywheel.spec.outline import Outline, kinds_of
from flywheel.spec.strategies import Generator
from flywheel.spec.verifiers import Verifier, pattern_faults
from flywheel.text import did_you_mean, listing

COMPARISONS = ("better_by", "not_worse_than", "at_least", "at_most", "falls_by")


def reference_faults(document: Document, outline: Outline) -> list[Fault]:
    """All faults and warnings of references between sections."""
    return [fault for check in _CHECKS for fault in check(document, outline)]


# --- names --------------------------------------------------------------------------------------------------


def _unknown_names(document: Document, outline: Outline) -> Iterator[Fault]:
    for path, section, name in _references(outline):
        known = outline.names.get(section)
        if known is not None and name not in known:
            noun = _NOUN[section]
            yield document.fault(path, f'unknown {noun} "{name}".', did_you_mean(name, known))


_NOUN = {
    "tasks": "task",
    "teachers": "teacher",
    "verifiers": "verifier",
    "evals": "suite",
    "taxonomy": "error mode",
}


def _references(outline: Outline) -> Iterator[tuple[Path_, str, str]]:
    """Every name that stands for something declared elsewhere: (place, section, name)."""
    for name, task in outline.tasks.items():
        yield from _each(("tasks", name, "verify"), "verifiers", task.verify)
    for index, mode in outline.taxonomy.items():
        yield from _each(("taxonomy", index), "tasks", {"task": mode.task})
    for index, generator in outline.generate.items():
        yield from _generator_references(("generate", index), generator)
    for name, teacher in outline.teachers.items():
        yield from _each(("teachers", name, "fallback"), "teachers", teacher.fallback)
    for name, verifier in outline.verifiers.items():
        yield from _each(("verifiers", name), "teachers", {"teacher": verifier.asks})
    for name, suite in outline.evals.items():
        yield from _each(("evals", name), "tasks", {"task": suite.task})
        yield from _each(("evals", name, "teachers"), "teachers", suite.teachers)
    for index, ablation in outline.ablate.items():
        yield from _each(("ablate", index), "evals", {"suite": ablation.suite})
    yield from _each(("traffic", "match"), "tasks", {task: task for task in outline.traffic.match})
    for index, rule in outline.gate.items():
        yield from _each(("gate", index), "evals", {"suite": rule.suite})
        yield from _each(("gate", index), "taxonomy", {"mode": rule.mode})


def _generator_references(path: Path_, generator: Generator) -> Iterator[tuple[Path_, str, str]]:
    yield from _each(path, "tasks", {"task": generator.task})
    yield from _each((*path, "teachers"), "teachers", generator.named_teachers)
    yield from _each((*path, "modes"), "taxonomy", generator.modes or [])
    yield from _each((*path, "second_opinion"), "teachers", generator.opinions)


def _each(
    path: Path_, section: str, names: Sequence[str] | Mapping[str, str | None] | Mapping[str | int, str]
) -> Iterator[tuple[Path_, str, str]]:
    pairs: Iterable[tuple[str | int, str | None]] = names.items() if isinstance(names, Mapping) else enumerate(names)
    for key, name in pairs:
        if name is not None:
            yield (*path, key), section, name


def _duplicates(document: Document, outline: Outline) -> Iterator[Fault]:
    modes = [((i,), mode.name) for i, mode in outline.taxonomy.items()]
    yield from _twice(document, ("taxonomy",), modes, "the error mode")
    generators = [((i,), generator.name) for i, generator in outline.generate.items()]
    yield from _twice(document, ("generate",), generators, "the generator")
    ablations = [((i,), ablation.name) for i, ablation in outline.ablate.items()]
    yield from _twice(document, ("ablate",), ablations, "the ablation")
    for name, task in outline.tasks.items():
        yield from _twice(document, ("tasks", name, "verify"), _numbered(task.verify), "the verifier")
    for index, generator in outline.generate.items():
        path: Path_ = ("generate", index)
        listed = [((i,), name) for i, name in generator.named_teachers.items() if isinstance(i, int)]
        yield from _twice(document, (*path, "teachers"), listed, "the teacher", "Give weights: {name: 2}.")
    for place, kind in kinds_of(outline):
        for key, noun in kind.distinct.items():
            entries = getattr(kind, key)
            yield from _twice(document, (*place, key), _numbered(entries if isinstance(entries, list) else []), noun)


def _numbered(names: list[str]) -> list[tuple[tuple[int], str]]:
    return [((i,), name) for i, name in enumerate(names)]


def _twice(
    document: Document, path: Path_, named: list[tuple[tuple[int], str]], noun: str, hint: str = ""
) -> Iterator[Fault]:
    seen: dict[str, Path_] = {}
    for index, name in named:
        place = (*path, *index)
        if name in seen:
            first = document.fault(seen[name], "").line
            yield document.fault(place, f'{noun} "{name}" stands twice, here and in line {first}.', hint)
        seen.setdefault(name, place)


# --- tasks and modes ----------------------------------------------------------------------------------------


def _tasks_left_out(document: Document, outline: Outline) -> Iterator[Fault]:
    tasks = outline.names.get("tasks", [])
    if len(tasks) < 2:
        return
    for index, generator in outline.generate.items():
        if generator.task is None:
            hint = f"Add one of {listing(tasks)}."
            yield document.fault(("generate", index), 'missing key "task": there are several tasks.', hint)


def _fallbacks(document: Document, outline: Outline) -> Iterator[Fault]:
    """For each task the modes must end in one that takes what is left, and each mode must be reachable."""
    tasks = outline.names.get("tasks", [])
    if not outline.whole("taxonomy") or any(m.task not in (None, *tasks) for m in outline.taxonomy.values()):
        return
    above: dict[int, str] = {}
    reached: set[int] = set()
    for task in tasks:
        fallback = ""
        for index, mode in outline.modes_of(task).items():
            above[index] = fallback
            reached |= set() if fallback else {index}
            fallback = fallback or ("" if mode.when else mode.name)
        if not fallback:
            message = f'no fallback: the last error mode for task "{task}" must be one without `when`.'
            yield document.fault(("taxonomy",), message, "Add - {name: other} at the end.")
    for index in above.keys() - reached:
        name = outline.taxonomy[index].name
        message = f'"{name}" can never be reached: "{above[index]}" above it has no `when`.'
        hint = f'Give "{above[index]}" a `when`, or move it to the end.'
        yield document.fault(("taxonomy", index), message, hint)


def _coverage(document: Document, outline: Outline) -> Iterator[Fault]:
    if not outline.whole("generate"):
        return
    for task in outline.names.get("tasks", []):
        generators = [g for g in outline.generate.values() if outline.task_of(g.task) == task]
        if not generators:
            message = f'no generator teaches the task "{task}": it is only measured.'
            yield document.warning(("tasks", task), message, "Add one under generate.")
            continue
        for index, mode in outline.modes_of(task).items():
            if all(g.modes is not None and mode.name not in g.modes for g in generators):
                names = ", ".join(g.name for g in generators)
                message = f'no generator covers the error mode "{mode.name}" of task "{task}".'
                yield document.fault(("taxonomy", index), message, f"Add it to the modes of one of: {names}.")


def _mode_scopes(document: Document, outline: Outline) -> Iterator[Fault]:
    """A mode of one task is of no use to a generator or gate rule of another."""
    scopes = {mode.name: mode.task for mode in outline.taxonomy.values()}
    for index, generator in outline.generate.items():
        for number, name in enumerate(generator.modes or []):
            place: Path_ = ("generate", index, "modes", number)
            yield from _scope(document, place, name, scopes.get(name), outline.task_of(generator.task))
    for index, rule in outline.gate.items():
        suite = outline.evals.get(rule.suite)
        if rule.mode is not None and suite is not None:
            yield from _scope(document, ("gate", index, "mode"), rule.mode, scopes.get(rule.mode), suite.task)


def _scope(document: Document, place: Path_, mode: str, scope: str | None, task: str | None) -> Iterator[Fault]:
    if scope is not None and task is not None and scope != task:
        yield document.fault(place, f'the error mode "{mode}" is of task "{scope}", not of "{task}".')


# --- generators ---------------------------------------------------------------------------------------------


def _second_opinions(document: Document, outline: Outline) -> Iterator[Fault]:
    for index, generator in outline.generate.items():
        path: Path_ = ("generate", index, "second_opinion")
        for number, name in enumerate(generator.opinions):
            if name in outline.teachers and outline.teachers[name].recorded:
                message = f'the teacher "{name}" has recorded rows only and cannot answer a new one.'
                yield document.fault((*path, number), message, "Name a teacher of another kind.")
        for author in generator.weights:
            if author in outline.names.get("teachers", []) and (same := _all_are(author, generator, outline)):
                known_as = "" if same == [author] else f'"{same[0]}" is the same under another name: '
                message = f'{known_as}"{author}" would be asked about its own lessons.'
                able = [name for name, teacher in outline.teachers.items() if teacher.writes_questions]
                hint = _one_writer(author) if able == [author] else "Add a teacher that did not write them."
                yield document.fault(path, message, hint)


def _all_are(author: str, generator: Generator, outline: Outline) -> list[str]:
    """The teachers for second opinions, where all of them are the author; other names of it first."""
    known = outline.teachers
    same = [
        name
        for name in generator.opinions
        if name == author or (name in known and author in known and known[name].same_source(known[author]))
    ]
    return sorted(same, key=lambda name: name == author) if len(same) == len(generator.opinions) else []


def _nothing_to_compare(document: Document, outline: Outline) -> Iterator[Fault]:
    """Who writes question and answer gives no known answer: a comparing verifier could only say unknown."""
    for index, generator in outline.generate.items():
        task = outline.tasks.get(outline.task_of(generator.task) or "")
        if task is None or generator.whole_text or generator.opinions or generator.brings_reference:
            continue
        verifiers = [v for v in task.verify if v in outline.verifiers and outline.verifiers[v].needs_reference]
        able = [name for name, teacher in outline.teachers.items() if teacher.writes_questions]
        writers = [name for name in generator.weights if name in able]
        if verifiers and writers:
            message = (
                f'nothing to compare with: "{verifiers[0]}" needs a known answer, '
                f'and "{writers[0]}" writes its own questions.'
            )
            # One that writes is not asked about its own: of two writers each answers what the other wrote.
            others = [name for name in able if name not in writers][:1] or writers[:2]
            alone = others == writers[:1]
            hint = _one_writer(writers[0]) if alone else f"Add second_opinion: [{', '.join(others)}]."
            yield document.fault(("generate", index), message, hint)


def _one_writer(name: str) -> str:
    """Who is alone has nobody to answer again, but can answer known questions several times."""
    return (
        f'"{name}" is alone: add another teacher as second_opinion or, where there are questions, let it answer each '
        "several times and vote: strategy: trace, from: data, data: a file of rows without the target "
        "(docs/strategies/trace.md)."
    )


def _prompts(document: Document, outline: Outline) -> Iterator[Fault]:
    for index, generator in outline.generate.items():
        readers = [n for n in generator.weights if n in outline.teachers and outline.teachers[n].reads_prompts]
        for key in generator.asking_prompts:
            if readers and generator.prompts[key] is None:
                message = f'missing key "{key}": the teacher "{readers[0]}" reads prompts.'
                yield document.fault(("generate", index), message, "Name a Jinja file.")


def _strategies(document: Document, outline: Outline) -> Iterator[Fault]:
    for index, generator in outline.generate.items():
        path: Path_ = ("generate", index)
        if not generator.weights and generator.needs_teachers:
            yield document.fault(path, 'missing key "teachers": nobody writes these lessons.', "Name one or more.")
        task = outline.tasks.get(outline.task_of(generator.task) or "")
        verify = [outline.verifiers[name] for name in (task.verify if task else []) if name in outline.verifiers]
        if generator.needs_programs_run and task is not None and not any(v.runs_programs for v in verify):
            message = "nothing would run the tests: no verifier of the task is of kind code."
            yield document.fault((*path, "strategy"), message, "Add one to verifiers and to the task's verify.")
        for key, name in generator.named_teachers.items() if generator.by_student_alone else ():
            if name in outline.teachers and not outline.teachers[name].is_student:
                message = f'{generator.strategy} is for the student; the teacher "{name}" is another.'
                yield document.fault((*path, "teachers", key), message, "Name a teacher of kind: student.")


def _judges(document: Document, outline: Outline) -> Iterator[Fault]:
    """A judge does not judge what it wrote, and none gates whose agreement with people nobody measured."""
    for index, generator in outline.generate.items():
        task = outline.tasks.get(outline.task_of(generator.task) or "")
        for name in task.verify if task else []:
            teacher = outline.verifiers[name].asks if name in outline.verifiers else None
            if teacher in outline.teachers and outline.teachers[teacher].recorded:
                message = f'the judge "{name}" has recorded rows only and cannot judge.'
                yield document.fault(("verifiers", name, "teacher"), message, "Name a teacher of another kind.")
            elif teacher in generator.weights:
                message = f'the judge "{name}" is the teacher "{teacher}" and would judge its own lessons.'
                yield document.fault(("generate", index, "teachers"), message, "Let another teacher judge.")
    for index, rule in outline.gate.items():
        suite = outline.evals.get(rule.suite)
        task = outline.tasks.get((suite.task if suite else None) or "")
        for name in task.verify if task else []:
            judge = outline.verifiers.get(name)
            if judge is not None and not judge.may_gate:
                message = f'the gate would follow the judge "{name}", whose agreement with people is not measured.'
                hint = f"Add verifiers.{name}.calibration: rows that people judged."
                yield document.fault(("gate", index, "suite"), message, hint)


def _own_fallbacks(document: Document, outline: Outline) -> Iterator[Fault]:
    for name, teacher in outline.teachers.items():
        for number, other in enumerate(teacher.fallback):
            place: Path_ = ("teachers", name, "fallback", number)
            if other == name:
                yield document.fault(place, f'"{name}" would stand in for itself.', "Name another teacher.")
            elif other in outline.teachers and outline.teachers[other].recorded:
                message = f'"{other}" has recorded rows only and cannot stand in for "{name}".'
                yield document.fault(place, message, "Name a teacher of another kind.")


def _ablations(document: Document, outline: Outline) -> Iterator[Fault]:
    for index, ablation in outline.ablate.items():
        section, _, name = ablation.without.partition(".")
        place: Path_ = ("ablate", index, "without")
        known = outline.names.get(_ABLATED[section], []) if section in _ABLATED else CURATE_STAGES
        if name not in known:
            yield document.fault(place, f'there is no {section} "{name}" to leave out.', did_you_mean(name, known))


_ABLATED = {"verifier": "verifiers", "teacher": "teachers", "generator": "generate"}
CURATE_STAGES = ("length", "quality", "dedup", "decontaminate", "rank")


def _rowless(document: Document, outline: Outline) -> Iterator[Fault]:
    """Of each task there is a row somewhere: what is asked is else known to nobody."""
    if not (outline.whole("generate") and outline.whole("evals")):
        return
    known = {suite.task for suite in outline.evals.values()}
    known |= {outline.task_of(generator.task) for generator in outline.generate.values() if generator.data is not None}
    for name, task in outline.tasks.items():
        if name not in known and not (task.probes or task.seeds or task.practice):
            message = f'task "{name}" has no rows, and no suite measures it.'
            yield document.fault(("tasks", name), message, f"Add tasks.{name}.probes.")


def _sources(document: Document, outline: Outline) -> Iterator[Fault]:
    """Rows that a generator starts from must be declared."""
    for index, generator in outline.generate.items():
        name = outline.task_of(generator.task)
        task = outline.tasks.get(name or "")
        if task is None:
            continue
        if generator.source == "errors" and task.probes is None:
            message = f'task "{name}" has no probes, so no errors are found to teach from.'
            yield document.fault(("generate", index), message, f"Add tasks.{name}.probes, or from: seeds.")
        if generator.starts_from_rows:
            if generator.source in ("seeds", "lessons") and task.seeds is None:
                message = f'{generator.strategy} starts from seeds, and task "{name}" has none.'
                yield document.fault(("generate", index), message, f"Add tasks.{name}.seeds.")
            continue
        answers = _needs_answers(outline, generator)
        if answers and generator.source == "seeds" and task.seeds is None:
            message = f'{answers} needs rows with known answers, and task "{name}" has no seeds.'
            yield document.fault(("generate", index), message, f"Add tasks.{name}.seeds, or from: errors.")


def _needs_answers(outline: Outline, generator: Generator) -> str:
    if generator.whole_text:
        return "parse: text"
    students = [n for n in generator.weights if n in outline.teachers and outline.teachers[n].is_student]
    return f'the teacher "{students[0]}"' if students else ""


def _own(document: Document, outline: Outline) -> Iterator[Fault]:
    """What the kinds find wrong with their own keys."""
    for place, kind in kinds_of(outline):
        for key, message, hint in kind.key_faults():
            yield document.fault((*place, *key), message, hint)


def _unused(document: Document, outline: Outline) -> Iterator[Fault]:
    if not (outline.whole("generate") and outline.whole("tasks")):
        return
    used = {n for g in outline.generate.values() for n in (*g.weights, *g.opinions)}
    used |= {v.asks for v in outline.verifiers.values() if v.asks is not None}
    used |= {n for s in outline.evals.values() for n in s.teachers}
    used |= {n for t in outline.teachers.values() for n in t.fallback}
    for name in outline.names.get("teachers", []):
        if name not in used:
            yield document.warning(("teachers", name), f'no generator uses the teacher "{name}".')
    verify = {n for task in outline.tasks.values() for n in task.verify}
    for name in outline.names.get("verifiers", []):
        if name not in verify:
            yield document.warning(("verifiers", name), f'no task uses the verifier "{name}".')


def _unsafe(document: Document, outline: Outline) -> Iterator[Fault]:
    if document.tree.get("allow_unsafe_execution") is True:
        message = "where no sandbox works, programs that models wrote run here with all that you may do."
        hint = "`flywheel doctor` names the sandbox of this machine; where it names one, remove this line."
        yield document.warning(("allow_unsafe_execution",), message, hint)


# --- training -----------------------------------------------------------------------------------------------


BEYOND_LESSONS = ("dpo", "kto", "grpo")


def _preference(document: Document, outline: Outline) -> Iterator[Fault]:
    train, given = outline.train, document.tree.get("train")
    if train.method not in BEYOND_LESSONS:
        for key in ("preference", "canaries"):
            if isinstance(given, dict) and given.get(key) is not None:
                hint = f"Remove it, or set train.method: {', '.join(BEYOND_LESSONS)}."
                yield document.fault(("train", key), f"{key} is for learning from judged answers.", hint)
        for name in (name for name, task in outline.tasks.items() if task.practice is not None):
            hint = f"Set train.method: {', '.join(BEYOND_LESSONS)}."
            yield document.warning(("tasks", name, "practice"), "nobody practises with train.method: sft.", hint)
        return
    if train.method == "grpo" and train.preference.beta != Preference().beta:
        message = "grpo has no reference to be held to: a clipped ratio bounds its steps."
        yield document.fault(("train", "preference", "beta"), message, "Remove it.")
    if train.method != "dpo" and train.preference.nll != Preference().nll:
        message = f"nll stands beside pairs, and {train.method} has none."
        yield document.fault(("train", "preference", "nll"), message, "Remove it, or set train.method: dpo.")
    if train.init == "base" and _iterations(document) > 1:
        message = "every iteration starts from the base again: what judged answers taught is learned anew each time."
        yield document.warning(("train", "method"), message, "Write init: incumbent, to go on from it.")
    for name, task in outline.tasks.items():
        judges = {v: outline.verifiers[v] for v in task.verify if v in outline.verifiers and outline.verifiers[v].asks}
        yield from _rewards(document, train, name, judges)


def _iterations(document: Document) -> int:
    loop = document.tree.get("loop")
    found = loop.get("iterations") if isinstance(loop, dict) else None
    return found if isinstance(found, int) else Loop().iterations


def _rewards(document: Document, train: Train, task: str, judges: Mapping[str, Verifier]) -> Iterator[Fault]:
    """A reward is followed wherever it leads: a judge's is one only where its worth is measured, and it costs."""
    place: Path_ = ("train", "method")
    for name, judge in judges.items():
        if not judge.may_gate:
            message = f'the student would follow the judge "{name}", whose agreement with people is not measured.'
            yield document.fault(place, message, f"Add verifiers.{name}.calibration: rows that people judged.")
    if judges:
        calls = train.rounds * train.preference.answers * sum(judge.calls_each for judge in judges.values())
        message = f'"{task}" is judged by {", ".join(judges)}: up to {calls:,.0f} calls for answers in an iteration.'
        hint = "`plan` has the cost; what a verifier before it fails is not asked about."
        yield document.warning(place, message, hint)


# --- verifiers, suites, gate --------------------------------------------------------------------------------


def _finals(document: Document, outline: Outline) -> Iterator[Fault]:
    for name, task in outline.tasks.items():
        if task.final is not None:
            faults = list(pattern_faults(("tasks", name, "final"), task.final))
            yield from (document.fault(*fault) for fault in faults)
            if not faults and re.compile(task.final).groups != 1:
                message = f"needs one group around the final answer, has {re.compile(task.final).groups}."
                yield document.fault(("tasks", name, "final"), message, r"For example: '#### (.+)'.")


def _suites(document: Document, outline: Outline) -> Iterator[Fault]:
    for name, suite in outline.evals.items():
        yield from _suite(document, ("evals", name), suite)
        task = outline.tasks.get(suite.task or "")
        if suite.num_fewshot and task is not None and task.seeds is None:
            message = f'num_fewshot shows solved seeds, and task "{suite.task}" has none.'
            hint = f"Add tasks.{suite.task}.seeds, or remove it."
            yield document.fault(("evals", name, "num_fewshot"), message, hint)
    if outline.whole("evals") and not any(s.role == "target" for s in outline.evals.values()):
        message = "no suite has the role target: nothing says what should rise."
        yield document.fault(("evals",), message, "Give one suite role: target.")


def _shots(document: Document, outline: Outline) -> Iterator[Fault]:
    if outline.student.shots and outline.tasks and not any(task.seeds for task in outline.tasks.values()):
        name = next(iter(outline.tasks))
        message = "shots are solved seeds, and no task has seeds."
        yield document.fault(("student", "shots"), message, f"Add tasks.{name}.seeds, or remove shots.")


def _quantized(document: Document, outline: Outline) -> Iterator[Fault]:
    device = outline.student.device
    if outline.train.quantize is not None and device in ("cpu", "mps"):
        message = f"{outline.train.quantize} needs a GPU that torch has for cuda, and student.device is {device}."
        yield document.fault(("train", "quantize"), message, "Set student.device: cuda, or remove quantize.")


def _suite(document: Document, path: Path_, suite: Suite) -> Iterator[Fault]:
    if suite.lm_eval is not None:
        for key in ("task", "data"):
            if getattr(suite, key) is not None:
                message = f"{key} and lm_eval exclude each other."
                yield document.fault((*path, key), message, "Make two suites of it.")
        for key in ("pass_at", "teachers", "stop"):
            if getattr(suite, key):
                yield document.fault((*path, key), f"{key} is for suites of a task.", "Remove it.")
        return
    for key in ("task", "data"):
        if getattr(suite, key) is None:
            hint = "A suite is task and data, or lm_eval."
            yield document.fault(path, f'missing key "{key}".', hint)
    if suite.metric is not None:
        yield document.fault((*path, "metric"), "metric is for lm_eval suites only.", "Remove it.")
    if suite.pass_at is not None and suite.pass_at > suite.repeats:
        message = f"pass@{suite.pass_at} needs as many answers to an item; repeats is {suite.repeats}."
        yield document.fault((*path, "pass_at"), message, f"Set repeats: {suite.pass_at} or more.")


def _gate(document: Document, outline: Outline) -> Iterator[Fault]:
    for index, rule in outline.gate.items():
        yield from _rule(document, ("gate", index), rule)
        suite = outline.evals.get(rule.suite)
        if rule.mode is not None and suite is not None and suite.lm_eval is not None:
            message = f'the suite "{rule.suite}" is one of lm-eval, whose failures have no error modes.'
            yield document.fault(("gate", index, "mode"), message, "Name a suite with a task.")


def _rule(document: Document, path: Path_, rule: GateRule) -> Iterator[Fault]:
    given = [key for key in COMPARISONS if getattr(rule, key) is not None]
    choices = ", ".join(COMPARISONS)
    if not given:
        yield document.fault(path, "says nothing that must hold.", f"Add one of {choices}.")
    elif len(given) > 1:
        yield document.fault(path, f"{' and '.join(given)} in one rule.", "Make a rule of each.")
    elif given == ["falls_by"] and rule.mode is None:
        yield document.fault(path, 'missing key "mode": falls_by is about one error mode.')
    elif given == ["at_most"] and rule.measure is None:
        measures = ", ".join(get_args(Measure))
        yield document.fault(
            path, 'missing key "measure": at_most is about what an answer costs.', f"One of {measures}."
        )
    elif rule.measure in ("refusals", "truncated") and rule.at_most is not None and rule.at_most >= 1:
        message = f"{rule.measure} is a share of the answers: it is never above {rule.at_most:g}."
        yield document.fault((*path, "at_most"), message, "Write 0.05 for 5%.")
    elif rule.measure is not None and given != ["at_most"]:
        yield document.fault((*path, "measure"), f"{given[0]} is about the score.", "Use at_most, or remove measure.")
    elif rule.mode is not None and given != ["falls_by"]:
        hint = "Use falls_by, or remove mode."
        yield document.fault((*path, "mode"), f"{given[0]} is about the score, not about an error mode.", hint)


_CHECKS = (
    _unknown_names,
    _duplicates,
    _tasks_left_out,
    _fallbacks,
    _coverage,
    _mode_scopes,
    _second_opinions,
    _nothing_to_compare,
    _prompts,
    _strategies,
    _judges,
    _own_fallbacks,
    _ablations,
    _finals,
    _shots,
    _quantized,
    _preference,
    _rowless,
    _sources,
    _own,
    _unused,
    _unsafe,
    _suites,
    _gate,
)
