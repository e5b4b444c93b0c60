"""The student as an lm-eval model that also says what each answer cost, and which prompts it could not read whole."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from flywheel.harness.suites import Answer, Progress
from flywheel.student.chat import Prompter
from flywheel.student.loading import Loaded
from flywheel.student.sampling import ELSEWHERE, batches, generation, misfit
from flywheel.student.work import Asking

Key = tuple[str, int]
"""(lm-eval task, number of the document)"""


def answering_model(loaded: Loaded, asking: Asking, progress: Progress) -> Any:
    """lm-eval's `HFLM` around a student in memory, with these records by (task, document): `answers`, `problems`,
    `prompt_tokens`. `ids`: what a text of our tasks is in tokens.

    Requests of the tasks in `sampling` (ours) are generated a batch of like length at a time, as HFLM does it, but
    tokenized once and measured; requests of all other tasks are HFLM's own work.
    """
    from lm_eval.models.huggingface import HFLM
    from lm_eval.models.utils import normalize_gen_kwargs

    prompter = Prompter(loaded.tokenizer, asking.chat)

    class AnsweringModel(HFLM):  # type: ignore[misc]  # lm-eval has no types
        def __init__(self) -> None:
            super().__init__(
                pretrained=loaded.model,
                tokenizer=loaded.tokenizer,
                batch_size=asking.batch_size,
                chat_template_args=dict(asking.chat.template),
            )
            self.prompter = prompter
            self.ids: dict[str, list[int]] = {}
            self.sampling: dict[str, tuple[float, Callable[[int, int], int]]] = {}
            self.stop: dict[str, tuple[str, ...]] = {}
            self.answers: dict[Key, list[Answer]] = defaultdict(list)
            self.problems: dict[Key, str] = {}
            self.prompt_tokens: dict[Key, int] = {}

        def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
            if any(request.task_name not in self.sampling for request in requests):
                return self._named(requests)
            texts = [""] * len(requests)
            for task in dict.fromkeys(request.task_name for request in requests):
                places = [i for i, request in enumerate(requests) if request.task_name == task]
                for place, text in zip(places, self._own(task, [requests[i] for i in places]), strict=True):
                    texts[place] = text
            return texts

        # -- our tasks

        def _own(self, task: str, requests: Sequence[Any]) -> list[str]:
            """The answers to one task's requests. A prompt that leaves no room for an answer is not asked."""
            encoded = self._encoded(task, requests)
            fits = [i for i, ids in enumerate(encoded) if not self._too_long((task, requests[i].doc_id), len(ids))]
            order = sorted(fits, key=lambda i: (-len(encoded[i]), requests[i].args[0]))
            temperature, seed_of = self.sampling[task]
            stop = self.stop.get(task, ())
            seeds = [seed_of(requests[i].doc_id, repeat) for i, repeat in enumerate(_repeats(requests))]
            found: dict[int, Answer] = {}
            counted = {"suite": task.removeprefix("flywheel_"), "total": len(order)}
            progress({**counted, "done": 0})
            started = time.perf_counter()
            for batch, outputs in batches(
                loaded,
                prompter,
                encoded,
                order,
                asking.max_new_tokens,
                asking.batch_size,
                temperature,
                1.0,
                seeds,
                stop,
                asking.share,
                lambda done: progress({**counted, "done": done}),
            ):
                seconds = (time.perf_counter() - started) / len(batch)
                for place, tokens in zip(batch, outputs, strict=True):
                    found[place] = self._answer(tokens, seconds, stop)
                progress({**counted, "done": len(found)})
                started = time.perf_counter()
            for place in sorted(fits):
                self.answers[task, requests[place].doc_id].append(found.get(place) or Answer("", ELSEWHERE))
            return [found[i].text if i in found else "" for i in range(len(requests))]

        def _encoded(self, task: str, requests: Sequence[Any]) -> list[list[int]]:
            encoded = [self.ids[request.args[0]] for request in requests]
            for request, ids in zip(requests, encoded, strict=True):
                self.prompt_tokens[task, request.doc_id] = len(ids)
            return encoded

        def _answer(self, tokens: list[int], seconds: float, stop: Sequence[str]) -> Answer:
            made = generation(loaded, prompter, "", tokens, asking.max_new_tokens, stop)
            return Answer(made.text, made.tokens, seconds, made.truncated)

        def _too_long(self, key: Key, tokens: int, room: int = asking.max_new_tokens) -> bool:
            if problem := misfit(tokens, room, self.max_length):
                self.problems[key] = problem
            return bool(problem)

        # -- lm-eval's tasks: HFLM cuts what is too long and only logs it, so it is looked for first

        def _named(self, requests: list[Any]) -> list[str]:
            for request in requests:
                key = (request.task_name, request.doc_id)
                room = normalize_gen_kwargs(request.args[1], self.max_gen_toks)["max_gen_toks"]
                self.prompt_tokens[key] = len(self.tok_encode(request.args[0]))
                self._too_long(key, self.prompt_tokens[key], room)
            return list(super().generate_until(requests, disable_tqdm=True))

        def loglikelihood(self, requests: list[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
            self._scored = requests
            return list(super().loglikelihood(requests, disable_tqdm=True))

        def _loglikelihood_tokens(self, requests: list[Any], **options: Any) -> list[tuple[float, bool]]:
            for request, (_, context, continuation) in zip(self._scored, requests, strict=True):
                key = (request.task_name, request.doc_id)
                self.prompt_tokens[key] = max(len(context), self.prompt_tokens.get(key, 0))
                self._too_long(key, len(context), len(continuation) - 1)
            return list(super()._loglikelihood_tokens(requests, **{**options, "disable_tqdm": True}))

    return AnsweringModel()


def _repeats(requests: Sequence[Any]) -> list[int]:
    """For each request, how often the same document was asked before."""
    seen: dict[int, int] = defaultdict(int)
    numbers = []
    for request in requests:
        numbers.append(seen[request.doc_id])
        seen[request.doc_id] += 1
    return numbers
