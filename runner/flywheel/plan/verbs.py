"""The verbs of the wheel, in order: of each the nodes that it has in an iteration, what they wait for and read, and
which teachers they ask. What a verb does is in `flywheel.nodes.verbs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from flywheel.plan.estimates import (
    BOOKS,
    Asked,
    History,
    Seconds,
    acceptance_of,
    added,
    answering,
    calls_of_lessons,
    candidates_of,
    learning,
    lessons_of,
    of_suites,
    preferring,
    reading,
    suite_calls,
    votes,
)
from flywheel.plan.parts import Iteration, flatten
from flywheel.spec.models import Spec
from flywheel.spec.outline import judged_columns, with_fallbacks
from flywheel.spec.strategies import Generator

Place = tuple[str, int]
"""Subject (a task, a generator, an ablation; empty where there is one node) and refill round (0 where none is)."""


class Verb:
    """One verb. The defaults are those of a verb with one node an iteration that asks nobody."""

    name: ClassVar[str]
    implementation: ClassVar[int] = 1
    """Raise it when the verb's code changes what it would write for the same inputs."""
    needs_judges: ClassVar[bool] = False
    """Its nodes judge answers or ask teachers: sandbox and prices must be in order before one runs."""
    asks_teachers_of_suites: ClassVar[bool] = False
    is_refilled: ClassVar[bool] = False
    """Its later rounds have nothing to do where the first was enough."""
    may_be_blocked: ClassVar[bool] = False
    """It asks teachers that may be out of reach for want of a variable."""
    decides: ClassVar[bool] = False
    """Its outcome promotes a model or does not."""
    tells_outcome: ClassVar[bool] = False
    """What it found is said in the terminal when all is done."""
    works_the_student: ClassVar[bool] = False
    """How long it takes follows from how fast the student is."""
    trains: ClassVar[bool] = False
    """An adapter comes of it."""
    shows_in_overview: ClassVar[bool] = False
    """The page over all iterations is written anew after it; nothing that is measured waits for it."""
    serves_other_loops: ClassVar[bool] = False
    """What it has done is as good in another loop with the same fingerprints: it comes before the training, or tells
    models apart."""

    def places(self, it: Iteration) -> Iterable[Place]:
        return [("", 0)]

    def parents(self, it: Iteration, place: Place) -> list[str]:
        raise NotImplementedError

    def inputs(self, it: Iteration, place: Place) -> dict[str, Any]:
        """Everything of the spec and its files that can change what the node writes, its ancestors' parts aside."""
        raise NotImplementedError

    def asked(self, spec: Spec, place: Place, history: History, iteration: int) -> Iterator[Asked]:
        """(teacher, expected calls)."""
        return iter(())

    def acceptance(self, spec: Spec, place: Place, history: History) -> float | None:
        """Expected, of candidates that it asks for."""
        return None

    def seconds(self, spec: Spec, place: Place, history: History, iteration: int) -> Seconds | None:
        """Expected, where no such node was measured; None where nobody knows."""
        return BOOKS


class ProbeStep(Verb):
    name = "probe"
    implementation = 3
    serves_other_loops = True
    works_the_student = True
    needs_judges = True

    def places(self, it: Iteration) -> Iterable[Place]:
        return [(name, 0) for name, task in it.spec.tasks.items() if task.probes is not None]

    def parents(self, it: Iteration, place: Place) -> list[str]:
        return it.incumbent()

    def inputs(self, it: Iteration, place: Place) -> dict[str, Any]:
        name = place[0]
        task = it.spec.tasks[name]
        return {
            **it.asking(name),
            **it.files(task.probes),
            f"tasks.{name}.probe_limit": task.probe_limit,
            **it.judging(name),
            **it.unknown_limit(),
            # Without a limit all rows are asked, whatever the seed.
            **({"seed": it.spec.seed} if task.probe_limit else {}),
        }

    def asked(self, spec: Spec, place: Place, history: History, iteration: int) -> Iterator[Asked]:
        task = spec.tasks[place[0]]
        yield from votes(spec, place[0], history.rows_of(task.probes, task.probe_limit))

    def seconds(self, spec: Spec, place: Place, history: History, iteration: int) -> Seconds | None:
        task = spec.tasks[place[0]]
        return answering(history.speed, history.rows_of(task.probes, task.probe_limit))


def traffic_part(task: str) -> str:
    """What `mine` calls the digest of a task's rows of production among its inputs."""
    return f"traffic of {task}"


class MineStep(Verb):
    name = "mine"
    serves_other_loops = True
    needs_judges = True

    def places(self, it: Iteration) -> Iterable[Place]:
        return [(name, 0) for name in it.spec.tasks if name in it.spec.traffic.match]

    def parents(self, it: Iteration, place: Place) -> list[str]:
        return it.incumbent()

    def inputs(self, it: Iteration, place: Place) -> dict[str, Any]:
        name = place[0]
        task = it.spec.tasks[name]
        return {
            **flatten(f"traffic.match.{name}", it.spec.traffic.match[name].model_dump(mode="json")),
            traffic_part(name): it.facts.traffic_then.get((it.n, name), it.facts.traffic[name]),
            **it.question(name),
            **it.judging(name),
            **it.unknown_limit(),
            **it.files(task.probes, task.seeds),  # by them numbers are told, and columns
            **it.decontaminating(),
            **it.kept_for_shadow(),
        }

    def asked(self, spec: Spec, place: Place, history: History, iteration: int) -> Iterator[Asked]:
        yield from votes(spec, place[0], spec.traffic.match[place[0]].limit)


class DiagnoseStep(Verb):
    name = "diagnose"
    implementation = 2
    serves_other_loops = True

    def parents(self, it: Iteration, place: Place) -> list[str]:
        # Without probes nothing else would make an iteration wait for the one before, whose lessons and model it takes.
        found = [it.name(verb, task) for verb in ("probe", "mine") for task, _ in VERBS[verb].places(it)]
        return found or it.incumbent()

    def inputs(self, it: Iteration, place: Place) -> dict[str, Any]:
        return it.modes()


class BudgetStep(Verb):
    name = "budget"
    implementation = 2
    serves_other_loops = True
    needs_judges = True

    def parents(self, it: Iteration, place: Place) -> list[str]:
        return [it.name("diagnose")]

    def inputs(self, it: Iteration, place: Place) -> dict[str, Any]:
        inputs: dict[str, Any] = {"untargeted": "as rows come"} if it.facts.untargeted else {}
        for generator in it.spec.generate:
            chosen = generator.model_dump(mode="json", include={"accept", "floor", "cap", "modes", "source", "task"})
            inputs.update(flatten(f"generate.{generator.name}", {**chosen, "has_modes": generator.has_modes}))
        if not it.spec.budget.is_default:
            inputs |= {"budget.policy": it.spec.budget.weights}
        if it.spec.budget.samples_student:
            inputs["seed"] = it.seed(self.name)
        return inputs

    def seconds(self, spec: Spec, place: Place, history: History, iteration: int) -> Seconds | None:
        return None if spec.budget.samples_student else BOOKS


class GenerateStep(Verb):
    name = "generate"
    implementation = 4
    serves_other_loops = True
    needs_judges = True
    is_refilled = True
    may_be_blocked = True

    def places(self, it: Iteration) -> Iterable[Place]:
        return [(generator.name, n) for generator in it.spec.generate for n in range(1, generator.rounds + 1)]

    def parents(self, it: Iteration, place: Place) -> list[str]:
        name, number = place
        parents = [it.name("budget"), *([it.name("verify", name, number - 1)] if number > 1 else [])]
        return [*parents, *(it.before("curate") if it.generator(name).reads_lessons else [])]

    def inputs(self, it: Iteration, place: Place) -> dict[str, Any]:
        generator = it.generator(place[0])
        name = it.spec.task_of(generator)
        task = it.spec.tasks[name]
        dumped = generator.model_dump(mode="json", exclude={"floor", "cap", "modes", "source"})
        if generator.novelty_by == "words":  # as before it could be told
            del dumped["novelty_by"]
        inputs = {
            **flatten(f"generate.{generator.name}", dumped),
            f"generate.{generator.name}.implementation": generator.implementation,
            **it.files(*generator.files.values(), task.seeds),
            f"tasks.{name}.description": task.description,
            **it.judging(name),
            **it.unknown_limit(),
            "taxonomy.descriptions": {mode.name: mode.description for mode in it.spec.taxonomy},
            "seed": it.seed(self.name, generator.name, place[1]),
        }
        if task.thoughts != "drop":  # without them nothing changes
            inputs[f"tasks.{name}.thoughts"] = task.thoughts
        if generator.origin is not None:
            inputs[f"generate.{generator.name}.code"] = generator.origin.digest
        if task.probes is None:  # else the probe, an ancestor, covers how the task is asked
            inputs |= it.wording(name)
        for teacher in with_fallbacks(it.spec, [*generator.weights, *generator.opinions]):
            inputs |= {**it.teacher(teacher), f"teachers.{teacher}.fallback": it.spec.teachers[teacher].fallback}
            if it.spec.teachers[teacher].is_student:
                inputs |= it.asking(name)
        return inputs

    def asked(self, spec: Spec, place: Place, history: History, iteration: int) -> Iterator[Asked]:
        """Refill rounds are expected to find nothing missing: round 1 asks for as many as the acceptance needs."""
        if place[1] == 1:
            yield from calls_of_lessons(_generator(spec, place), history)

    def acceptance(self, spec: Spec, place: Place, history: History) -> float | None:
        return acceptance_of(_generator(spec, place), history) if place[1] == 1 else None

    def seconds(self, spec: Spec, place: Place, history: History, iteration: int) -> Seconds | None:
        """A teacher takes what it takes."""
        return None


class VerifyStep(Verb):
    name = "verify"
    implementation = 3
    serves_other_loops = True
    needs_judges = True
    is_refilled = True

    def places(self, it: Iteration) -> Iterable[Place]:
        return VERBS["generate"].places(it)

    def parents(self, it: Iteration, place: Place) -> list[str]:
        return [it.name("generate", *place)]

    def inputs(self, it: Iteration, place: Place) -> dict[str, Any]:
        most = it.spec.curate.dedup.answers_per_question
        return {
            **it.judging(it.spec.task_of(it.generator(place[0]))),
            **it.unknown_limit(),
            "curate.dedup.answers_per_question": most,
        }

    def asked(self, spec: Spec, place: Place, history: History, iteration: int) -> Iterator[Asked]:
        if place[1] == 1:
            generator = _generator(spec, place)
            answers = generator.answers_each * candidates_of(generator, history)
            yield from votes(spec, spec.task_of(generator), answers)

    def seconds(self, spec: Spec, place: Place, history: History, iteration: int) -> Seconds | None:
        """So does a verifier."""
        return None


class CurateStep(Verb):
    name = "curate"
    implementation = 4
    serves_other_loops = True
    works_the_student = True

    def parents(self, it: Iteration, place: Place) -> list[str]:
        return [*(it.name("verify", *place) for place in VERBS["verify"].places(it)), *it.before(self.name)]

    def inputs(self, it: Iteration, place: Place) -> dict[str, Any]:
        inputs = flatten("curate", it.spec.curate.model_dump(mode="json"))
        if it.spec.curate.mix.window is None:  # nothing is forgotten, as before there was a window
            del inputs["curate.mix.window"]
        if it.spec.curate.decontaminate.ratio is None:  # it is not looked at
            del inputs["curate.decontaminate.ratio"]
        if it.spec.curate.dedup.semantic is not None:
            inputs["curate.dedup.embedder weights"] = it.facts.embedder
        for name, task in it.spec.tasks.items():
            # What makes a row of a task: by it lessons and seeds are held against the items of the suites.
            columns = judged_columns(it.spec.verifiers[verifier] for verifier in task.verify)
            inputs |= {**it.question(name), f"tasks.{name}.judged columns": columns, **it.files(task.seeds)}
        for name, suite in it.spec.evals.items():
            inputs[f"evals.{name}"] = [suite.task, suite.data, suite.lm_eval]
        return {**inputs, **it.answering(), **it.items(it.spec.evals.values()), "seed": it.seed(self.name)}

    def seconds(self, spec: Spec, place: Place, history: History, iteration: int) -> Seconds | None:
        ranked = sum(candidates_of(generator, history) for generator in spec.generate)
        return reading(history.speed, ranked) if spec.curate.rank.difficulty else BOOKS


class TrainStep(Verb):
    name = "train"
    implementation = 3
    works_the_student = True
    trains = True

    def parents(self, it: Iteration, place: Place) -> list[str]:
        return [it.name("curate"), *(it.incumbent() if it.spec.train.init == "incumbent" else [])]

    def inputs(self, it: Iteration, place: Place) -> dict[str, Any]:
        settings = flatten("train", it.spec.train.of_lessons)
        again = [it.facts.retraining] if it.facts.retraining else []  # the first keeps the fingerprint that it had
        return {**settings, **it.student(), "seed": it.seed(self.name, *again)}

    def seconds(self, spec: Spec, place: Place, history: History, iteration: int) -> Seconds | None:
        iterations = 1 if spec.train.init == "incumbent" and not spec.curate.mix.replay else iteration
        return learning(history.speed, lessons_of(spec, iterations, history))


class SampleStep(Verb):
    name = "sample"
    implementation = 2
    works_the_student = True
    needs_judges = True

    def places(self, it: Iteration) -> Iterable[Place]:
        return [("", number) for number in range(1, it.spec.train.rounds + 1)]

    def parents(self, it: Iteration, place: Place) -> list[str]:
        if place[1] > 1:
            return [it.name("prefer", round=place[1] - 1)]
        return [it.name("train"), *it.incumbent()]

    def inputs(self, it: Iteration, place: Place) -> dict[str, Any]:
        chosen = it.spec.train.preference
        inputs = {f"train.preference.{key}": getattr(chosen, key) for key in ("questions", "samples")}
        for name in it.questioned():
            inputs |= {**it.asking(name), **it.judging(name), **it.files(it.spec.tasks[name].practice)}
        return {**inputs, **it.canaries(), **it.unknown_limit(), "seed": it.seed(self.name, place[1])}

    def asked(self, spec: Spec, place: Place, history: History, iteration: int) -> Iterator[Asked]:
        """Which task's questions come is not known before: as if each had as many."""
        for task in spec.tasks:
            yield from votes(spec, task, spec.train.preference.answers / len(spec.tasks))

    def seconds(self, spec: Spec, place: Place, history: History, iteration: int) -> Seconds | None:
        return answering(history.speed, spec.train.preference.answers)


class PreferStep(Verb):
    name = "prefer"
    implementation = 2
    works_the_student = True
    trains = True

    def places(self, it: Iteration) -> Iterable[Place]:
        return VERBS["sample"].places(it)

    def parents(self, it: Iteration, place: Place) -> list[str]:
        return [it.name("sample", *place)]

    def inputs(self, it: Iteration, place: Place) -> dict[str, Any]:
        train = it.spec.train
        inputs = {**flatten("train", train.of_lessons), "train.method": train.method}
        inputs |= {**flatten("train.preference", train.preference.of_steps(train.method)), **it.canaries()}
        inputs |= it.answering() if train.canaries else it.student()
        return {**inputs, "seed": it.seed(self.name, place[1])}

    def seconds(self, spec: Spec, place: Place, history: History, iteration: int) -> Seconds | None:
        chosen = spec.train.preference
        return preferring(history.speed, chosen.answers * chosen.epochs)


class EvaluateStep(Verb):
    name = "evaluate"
    implementation = 6
    serves_other_loops = True
    works_the_student = True
    asks_teachers_of_suites = True
    needs_judges = True
    tells_outcome = True

    def parents(self, it: Iteration, place: Place) -> list[str]:
        return [*it.trained(), *it.incumbent()]

    def inputs(self, it: Iteration, place: Place) -> dict[str, Any]:
        inputs = it.suites(it.spec.evals)
        for teacher in sorted({name for suite in it.spec.evals.values() for name in suite.teachers}):
            inputs |= it.teacher(teacher)
        if it.spec.loop.stop_when_decided:
            inputs |= {"loop.stop_when_decided": True, **it.rules()}
        return inputs

    def asked(self, spec: Spec, place: Place, history: History, iteration: int) -> Iterator[Asked]:
        """From the second iteration on, incumbent and teachers were measured before."""
        for suite in spec.evals.values():
            yield from suite_calls(spec, suite, history, models=2 if iteration == 1 else 1)
            if suite.task is not None and iteration == 1:
                items = history.rows_of(suite.data, suite.limit)
                for teacher in suite.teachers:
                    yield teacher, "opinion", items
                    yield from votes(spec, suite.task, items)

    def seconds(self, spec: Spec, place: Place, history: History, iteration: int) -> Seconds | None:
        if any(suite.teachers for suite in spec.evals.values()):
            return None
        return of_suites(spec, spec.evals.values(), history, models=2 if iteration == 1 else 1)


class ShadowStep(Verb):
    name = "shadow"
    works_the_student = True
    needs_judges = True

    def places(self, it: Iteration) -> Iterable[Place]:
        return VERBS["mine"].places(it) if it.spec.traffic.shadow is not None else []

    def parents(self, it: Iteration, place: Place) -> list[str]:
        return [it.name("mine", place[0]), *it.trained(), *it.incumbent()]

    def inputs(self, it: Iteration, place: Place) -> dict[str, Any]:
        name = place[0]
        task = it.spec.tasks[name]
        return {
            **flatten(f"traffic.match.{name}", it.spec.traffic.match[name].model_dump(mode="json")),
            **it.kept_for_shadow(),
            **it.asking(name),
            **it.judging(name),
            **it.files(task.probes, task.seeds),  # as `mine` reads them
            **it.decontaminating(),
            "seed": it.seed(self.name, name),
        }

    def asked(self, spec: Spec, place: Place, history: History, iteration: int) -> Iterator[Asked]:
        yield from votes(spec, place[0], 2 * _replayed(spec, place))

    def seconds(self, spec: Spec, place: Place, history: History, iteration: int) -> Seconds | None:
        return answering(history.speed, 2 * _replayed(spec, place))


class AblateStep(Verb):
    name = "ablate"
    implementation = 3
    works_the_student = True
    trains = True
    needs_judges = True

    def places(self, it: Iteration) -> Iterable[Place]:
        return [(ablation.name, 0) for ablation in it.spec.ablate]

    def parents(self, it: Iteration, place: Place) -> list[str]:
        return [it.name("train")]

    def inputs(self, it: Iteration, place: Place) -> dict[str, Any]:
        ablation = next(a for a in it.spec.ablate if a.name == place[0])
        own = flatten("ablate", ablation.model_dump(mode="json"))
        return {**VERBS["train"].inputs(it, place), **it.suites([ablation.suite]), **own}

    def asked(self, spec: Spec, place: Place, history: History, iteration: int) -> Iterator[Asked]:
        suite = next(spec.evals[ablation.suite] for ablation in spec.ablate if ablation.name == place[0])
        yield from suite_calls(spec, suite, history, models=2)

    def seconds(self, spec: Spec, place: Place, history: History, iteration: int) -> Seconds | None:
        ablation = next(ablation for ablation in spec.ablate if ablation.name == place[0])
        trained = learning(history.speed, ablation.lessons)
        return added(trained, trained, of_suites(spec, [spec.evals[ablation.suite]], history, models=2))


#: Parts of its lessons on which `flywheel compare --curve` trains beside all of them.
CURVE: Mapping[str, float] = {"eighth": 1 / 8, "quarter": 1 / 4, "half": 1 / 2}


class CurveStep(Verb):
    name = "curve"
    works_the_student = True
    needs_judges = True

    def places(self, it: Iteration) -> Iterable[Place]:
        return [(part, 0) for part in CURVE] if it.facts.curve == it.n else []

    def parents(self, it: Iteration, place: Place) -> list[str]:
        return [it.name("train")]

    def inputs(self, it: Iteration, place: Place) -> dict[str, Any]:
        targets = [name for name, suite in it.spec.evals.items() if suite.role == "target"]
        return {**it.suites(targets), **VERBS["train"].inputs(it, place), "part of the lessons": CURVE[place[0]]}

    def asked(self, spec: Spec, place: Place, history: History, iteration: int) -> Iterator[Asked]:
        for suite in spec.evals.values():
            if suite.role == "target":
                yield from suite_calls(spec, suite, history, models=1)

    def seconds(self, spec: Spec, place: Place, history: History, iteration: int) -> Seconds | None:
        targets = [suite for suite in spec.evals.values() if suite.role == "target"]
        trained = learning(history.speed, round(CURVE[place[0]] * lessons_of(spec, iteration, history)))
        return added(trained, of_suites(spec, targets, history, models=1))


class GateStep(Verb):
    name = "gate"
    implementation = 3
    decides = True
    tells_outcome = True

    def parents(self, it: Iteration, place: Place) -> list[str]:
        return [it.name("evaluate"), it.name("curate"), *it.incumbent()]

    def inputs(self, it: Iteration, place: Place) -> dict[str, Any]:
        return {**it.rules(), **it.unknown_limit(), "seed": it.seed(self.name)}


class ReportStep(Verb):
    name = "report"
    implementation = 3
    shows_in_overview = True

    def parents(self, it: Iteration, place: Place) -> list[str]:
        beside = [it.name(verb, *place) for verb in ("shadow", "ablate") for place in VERBS[verb].places(it)]
        return [it.name("gate"), *beside]

    def inputs(self, it: Iteration, place: Place) -> dict[str, Any]:
        """What the page shows of the spec and no step before it reads."""
        spec = it.spec
        of_people = spec.loop.model_dump(include={"human_usd_per_example", "human_minutes_per_example"})
        usual = {key: type(spec.loop).model_fields[key].default for key in of_people}
        return {
            # With the defaults a report stays what it was.
            **{f"loop.{key}": value for key, value in of_people.items() if value != usual[key]},
            "name": spec.name,
            "description": spec.description,
            "deploy.approve": spec.deploy.approve,
            **{f"evals.{name}.role": suite.role for name, suite in spec.evals.items()},
            **{f"taxonomy.{mode.name}.description": mode.description for mode in spec.taxonomy},
            **{f"teachers.{name}.simulated": teacher.is_simulated for name, teacher in spec.teachers.items()},
            **{f"teachers.{name}.style": teacher.style for name, teacher in spec.teachers.items()},
        }


class DeployStep(Verb):
    name = "deploy"
    implementation = 3
    shows_in_overview = True

    def parents(self, it: Iteration, place: Place) -> list[str]:
        # After train, too: an adapter that was lost is trained again while the gate's word still stands.
        return [*it.trained(), it.name("gate"), it.name("report"), *it.before(self.name)]

    def inputs(self, it: Iteration, place: Place) -> dict[str, Any]:
        return flatten("deploy", it.spec.deploy.identity())


def _replayed(spec: Spec, place: Place) -> float:
    """Rows of production that each model answers, at most."""
    return (spec.traffic.shadow or 0.0) * spec.traffic.match[place[0]].limit


def _generator(spec: Spec, place: Place) -> Generator:
    return next(generator for generator in spec.generate if generator.name == place[0])


VERBS: Mapping[str, Verb] = {
    verb.name: verb()
    for verb in (
        ProbeStep, MineStep, DiagnoseStep, BudgetStep, GenerateStep, VerifyStep, CurateStep, TrainStep, SampleStep,
        PreferStep, EvaluateStep, ShadowStep, AblateStep, CurveStep, GateStep, ReportStep, DeployStep,
    )
}  # fmt: skip
"""In the order in which an iteration has them."""
