"""`student.engine: vllm`: the process that answers, and what it is held to. The engine's process is played here; the
last tests ask vLLM itself, where it is installed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from flywheel.errors import FlywheelError, Tampered
from flywheel.harness import EvaluationJob, Item, SuiteJob, evaluate
from flywheel.records import Generation
from flywheel.spec.models import Student
from flywheel.student import BUILTIN
from flywheel.student.chat import Chat
from flywheel.student.engine import Sampling
from flywheel.student.loading import Arm, forget, load, load_base
from flywheel.student.vllm import Vllm, interpreter
from flywheel.student.work import AnswerJob, Asking, answer
from mini_domain import Domain
from student.test_effect import adapted

#: Plays vllm: greedy answers by transformers, one prompt at a time. `how` is what it does wrong.
PLAYED = """
import sys, types

how, path = {how!r}, {path!r}
sys.path[:] = path
import torch
from pathlib import Path
from transformers import AutoModelForCausalLM

started = Path(__file__).with_name("started")


class LLM:
    def __init__(self, model, **settings):
        if how == "refuses":
            raise ValueError("this architecture is not supported")
        if how == "dies":
            import os
            os._exit(7)
        if how == "never is ready":
            import os, time
            started.write_text(str(os.getpid()))
            time.sleep(600)
        started.open("a").write(f"{{settings}}\\n")
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=settings["dtype"])
        self.adapted = False

    def generate(self, prompts, sampling, lora_request=None, use_tqdm=None):
        if how == "dies when it is asked":
            import os
            os._exit(7)
        if lora_request is not None and how != "leaves the adapter out" and not self.adapted:
            from peft import PeftModel
            self.model, self.adapted = PeftModel.from_pretrained(self.model, lora_request.path).eval(), True
        bar = use_tqdm(total=len(prompts), desc="Processed prompts")
        found = []
        for prompt, one in zip(prompts, sampling, strict=True):
            ids = torch.tensor([prompt["prompt_token_ids"]])
            out = self.model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=one.max_tokens, do_sample=False,
                eos_token_id=one.stop_token_ids, pad_token_id=0, repetition_penalty=one.repetition_penalty,
            )[0, ids.shape[1]:].tolist()
            out = out[:1] if how == "stops early" else out
            found.append(types.SimpleNamespace(outputs=[types.SimpleNamespace(token_ids=out)]))
            bar.update(1)
        return found


class LoRARequest:
    def __init__(self, name, number, path):
        self.path = path


class SamplingParams:
    def __init__(self, **settings):
        self.__dict__.update(settings)


vllm = types.ModuleType("vllm")
vllm.LLM, vllm.SamplingParams, vllm.__version__ = LLM, SamplingParams, "0.0.1"
lora, request = types.ModuleType("vllm.lora"), types.ModuleType("vllm.lora.request")
request.LoRARequest = LoRARequest
sys.modules.update({{"vllm": vllm, "vllm.lora": lora, "vllm.lora.request": request}})
import runpy
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

ASKED = tuple((f"p{i}", f"What colour is thing {i}?") for i in range(9))


Played = Callable[..., Path]


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    """Puts a `vllm` in place, which does this wrong; gives the file that has a line for each start."""

    def put(how: str = "") -> Path:
        bin = tmp_path / "engine" / "bin"
        bin.mkdir(parents=True, exist_ok=True)
        (bin / "play.py").write_text(PLAYED.format(how=how, path=[p for p in sys.path if p]))
        # Its Python: without the option that keeps our packages out of its sight.
        (bin / "python").write_text(f'#!/bin/sh\nshift\nexec "{sys.executable}" "{bin}/play.py" "$@"\n')
        (bin / "vllm").write_text("#!/bin/sh\n")
        for name in ("python", "vllm"):
            (bin / name).chmod(0o755)
        monkeypatch.setenv("FLYWHEEL_VLLM", str(bin / "vllm"))
        return bin / "started"

    return put


@pytest.fixture(autouse=True)
def _given_up() -> Any:
    forget()
    yield
    forget()


def said(arm: Arm, prompts: Any = ASKED, engine: str = "vllm", tokens: int = 8) -> list[Generation]:
    return answer(AnswerJob(arm, Asking(Chat(), tokens, 4, engine=engine), tuple(prompts)), lambda message: None)


def base(student: Path) -> Arm:
    return Arm(str(student), None, "float32", "cpu", "base")


# --- the process ------------------------------------------------------------------------------------------------------


def test_answers_are_those_of_transformers_with_and_without_an_adapter(
    mini_student: Path, tmp_path: Path, played: Played
) -> None:
    played()
    arm = adapted(mini_student, tmp_path / "adapter", 0.5)
    for one in (arm, base(mini_student)):
        assert said(one) == said(one, engine="transformers")
    assert said(arm) != said(base(mini_student))


def test_it_starts_once_for_a_model_and_again_for_longer_prompts_or_when_another_needed_the_memory(
    mini_student: Path, played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flywheel.student.vllm.LEAST_ROOM", 32)
    started, arm = played(), base(mini_student)
    said(arm)
    said(arm)
    assert len(started.read_text().splitlines()) == 1
    said(arm, [("long", "thing " * 12)])
    assert len(started.read_text().splitlines()) == 2
    load_base(arm)
    said(arm, [("long", "thing " * 12)])
    starts = started.read_text().splitlines()
    assert [re.findall(r"'max_model_len': (\d+)", start) for start in starts] == [["32"], ["128"], ["128"]]


def test_how_many_are_done_is_told_and_begins_anew_when_it_has_started(mini_student: Path, played: Played) -> None:
    played()
    told: list[int] = []
    job = AnswerJob(base(mini_student), Asking(Chat(), 8, 4, engine="vllm"), ASKED)
    answer(job, lambda message: told.append(message["done"]))
    assert told == [0, 0, *range(1, len(ASKED) + 1), len(ASKED)]


def test_suites_are_answered_by_it_and_the_settings_say_so(mini_student: Path, played: Played) -> None:
    played()
    items = tuple(Item(f"item{i}", f"thing {i} is", {"text": f"thing {i}"}, "red") for i in range(6))
    suite = SuiteJob("holdout", "t", items)
    found = {
        engine: evaluate(
            EvaluationJob(base(mini_student), Asking(Chat(), 6, 4, engine=engine), (suite,), 1),
            lambda message: None,
        )
        for engine in ("vllm", "transformers")
    }
    told = found["vllm"].settings
    assert told.pop("engine") == "vllm 0.0.1"
    assert told == found["transformers"].settings
    texts = [[item.answers[0].text for item in one.suites["holdout"]] for one in found.values()]
    assert texts[0] == texts[1]


def test_a_base_that_decodes_with_a_penalty_does_so_there_too(
    mini_student: Path, tmp_path: Path, played: Played
) -> None:
    played()
    penalized = decoding(mini_student, tmp_path / "penalized", repetition_penalty=1.5)
    found = said(base(penalized), tokens=40)
    assert found == said(base(penalized), engine="transformers", tokens=40)
    assert found != said(base(mini_student), tokens=40)


def test_a_base_that_decodes_as_it_is_not_told_is_refused(mini_student: Path, tmp_path: Path, played: Played) -> None:
    started = played()
    with pytest.raises(FlywheelError, match=r"^student\.engine: the base's .* sets no_repeat_ngram_size, which vllm"):
        said(base(decoding(mini_student, tmp_path / "strange", no_repeat_ngram_size=2, num_beams=1)))
    assert not started.exists()


def decoding(student: Path, copy: Path, **settings: Any) -> Path:
    """The student with these settings in its generation config."""
    copytree(student, copy)
    config = copy / "generation_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **settings}))
    return copy


def test_shares_of_several_machines_make_the_whole(mini_student: Path, played: Played) -> None:
    played()
    job = AnswerJob(base(mini_student), Asking(Chat(), 8, 2, engine="vllm"), ASKED)
    parts = [answer(part, lambda message: None) for part in job.parts(3)]
    assert len(parts) == 3
    assert job.joined(parts) == said(base(mini_student))


def test_a_machine_that_has_nothing_to_answer_is_no_other_engine(mini_student: Path, played: Played) -> None:
    played()
    items = (*(Item(f"item{i}", f"thing {i} is", {"text": str(i)}, "red") for i in range(3)),
             Item("long", "thing " * 100, {"text": "long"}, "red"))  # fmt: skip
    asking = Asking(Chat(), 6, 3, engine="vllm")
    job = EvaluationJob(base(mini_student), asking, (SuiteJob("holdout", "t", items),), 1)
    found = []
    for part in job.parts(2):
        forget()  # on another machine
        found.append(evaluate(part, lambda message: None))

    assert ["engine" in one.settings for one in found] == [True, False]
    assert job.joined(found).settings["engine"] == "vllm 0.0.1"


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["leaves the adapter out", "stops early"])
def test_who_answers_otherwise_is_found_before_anybody_is_measured(
    mini_student: Path, tmp_path: Path, played: Played, how: str
) -> None:
    played(how)
    arm = adapted(mini_student, tmp_path / "adapter", 0.5)

    with pytest.raises(FlywheelError) as refused:
        said(arm)

    assert "student.engine: vllm 0.0.1 answers 4 of 4 prompts otherwise than transformers: " in str(refused.value)
    assert str(refused.value).endswith("Remove student.engine, or try another release of vLLM.")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("refuses", "student.engine: vllm refuses: ValueError: this architecture is not supported"),
        ("dies", "student.engine: vllm ended with 7. Its own words are in the run's worker.log"),
    ],
)
def test_what_it_refuses_is_passed_on(mini_student: Path, played: Played, how: str, words: str) -> None:
    played(how)
    with pytest.raises(FlywheelError) as refused:
        said(base(mini_student))
    assert str(refused.value).startswith(words)


def test_it_ends_with_who_started_it_even_while_it_starts(mini_student: Path, played: Played) -> None:
    started = played("never is ready")
    code = (
        f"import sys; sys.path[:] = {[p for p in sys.path if p]!r}\nfrom flywheel.student.vllm import _VllmProcess\n"
        "_VllmProcess(dict(model='m', revision=None, adapter=None, dtype='float32', max_model_len=8))"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as starter:
        deadline = time.monotonic() + 60
        while not (started.exists() and started.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        child = int(started.read_text())
        starter.kill()
    while is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(process: int) -> bool:
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True).stdout.strip()
    return bool(found) and not found.startswith("Z")


def test_one_that_was_killed_is_said_and_starts_anew(mini_student: Path, played: Played) -> None:
    started, arm = played(), base(mini_student)
    found = said(arm)
    engine: Any = load(Asking.many(Student(base="", engine="vllm")).arm(arm)).engine
    engine._child._process.kill()
    engine._child._process.wait()
    with pytest.raises(FlywheelError, match=r"^student\.engine: vllm was killed by SIGKILL\. Its own words are in "):
        said(arm)
    assert said(arm) == found
    assert len(started.read_text().splitlines()) == 2


def test_one_that_fails_before_it_is_held_to_anything_is_not_trusted_afterwards(
    mini_student: Path, tmp_path: Path, played: Played
) -> None:
    played("dies when it is asked")
    arm = adapted(mini_student, tmp_path / "adapter", 0.5)
    for words in ("vllm ended with 7", "vllm ended with 7"):
        with pytest.raises(FlywheelError, match=words):
            said(arm)
    played("leaves the adapter out")
    with pytest.raises(FlywheelError, match="otherwise than transformers"):
        said(arm)


def test_what_is_given_up_in_the_middle_is_not_the_next_answer(mini_student: Path, played: Played) -> None:
    played()
    arm = base(mini_student)

    def given_up(message: dict[str, Any]) -> None:
        if message["done"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answer(AnswerJob(arm, Asking(Chat(), 8, 4, engine="vllm"), ASKED), given_up)
    assert said(arm, ASKED[:3]) == said(arm, ASKED[:3], engine="transformers")


def test_an_adapter_that_somebody_changed_does_not_reach_it(mini_student: Path, tmp_path: Path, played: Played) -> None:
    started = played()
    arm = replace(adapted(mini_student, tmp_path / "adapter", 0.5), adapter_hash="0" * 64)
    with pytest.raises(Tampered):
        said(arm)
    assert not started.exists()


def test_an_adapter_of_too_great_a_rank_is_refused_in_words(mini_student: Path, tmp_path: Path, played: Played) -> None:
    played()
    arm = adapted(mini_student, tmp_path / "adapter", 0.5)
    config = Path(str(arm.adapter)) / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "rank_pattern": {"q_proj": 1024}}))
    vllm = Vllm({"adapter": str(arm.adapter), "dtype": "float32"}, None, None, lambda: load_base(base(mini_student)))
    with pytest.raises(FlywheelError, match=r"vllm takes no rank above 512, and the adapter's is 1024\."):
        vllm.answer([[1, 2]], Sampling([0], 4), [], lambda done: None)


@pytest.mark.parametrize("named", ["", "nowhere/bin/vllm"])
def test_where_it_is_not_here_validate_warns_and_apply_stops_before_anybody_is_asked(
    domain: Domain, flywheel: Any, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("FLYWHEEL_VLLM", named)
    domain.edit(lambda spec: spec["student"].update(engine="vllm"))
    where = f"FLYWHEEL_VLLM names {named}, which is no command" if named else "no command vllm is on the PATH"

    code, _, error = flywheel(domain, "validate")
    assert (code, error.count("warning: ")) == (0, 1)
    assert f"student.engine: vllm is not here: {where}." in error

    code, _, error = flywheel(domain, "apply")
    assert (code, domain.calls("asked")) == (4, [])
    assert f"student.engine: vllm is not here: {where}." in error
    assert f"vllm is not here: {where}." in flywheel(domain, "doctor")[1]


def test_students_on_a_cluster_have_it_there(domain: Domain, flywheel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWHEEL_VLLM", "nowhere")
    domain.edit(
        lambda spec: (spec["student"].update(engine="vllm"), spec.update(executor={"kind": "ray", "students": 2}))
    )
    assert "vllm" not in flywheel(domain, "validate")[2]


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ({"rank": 1024}, "train.rank: no vLLM takes a rank above 512."),
        ({"targets": ["embed_tokens"]}, "embed_tokens: vLLM 0.33.0 refuses LoRA on the embedding of qwen2."),
    ],
)
def test_what_it_cannot_take_is_said_before_anything_is_trained(
    tmp_path: Path, chat_student: Path, flywheel: Any, train: dict[str, Any], words: str
) -> None:
    domain = Domain.written(tmp_path / "project", chat_student)
    domain.edit(lambda spec: (spec["student"].update(engine="vllm"), spec["train"].update(train)))
    code, _, error = flywheel(domain, "validate")
    assert code == 4
    assert words in error


# --- vLLM itself ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(interpreter() is None, reason="no vllm: name its command in FLYWHEEL_VLLM, or put it on the PATH")
def test_vllm_itself_answers_as_transformers_do(tmp_path: Path) -> None:
    arm = adapted(BUILTIN["builtin:tiny"], tmp_path / "adapter", 0.6)
    asked = tuple((f"p{i}", f"question: how many orders are above {i}0?\nsql:") for i in range(6))
    for one in (arm, replace(arm, adapter=None, adapter_hash=None)):
        assert said(one, asked, tokens=24) == said(one, asked, engine="transformers", tokens=24)
    assert said(arm, asked, tokens=24) != said(one, asked, tokens=24)

    seeds = tuple(range(len(asked)))
    job = AnswerJob(arm, Asking(Chat(), 24, 4, engine="vllm"), asked, temperature=1.0, top_p=0.95, seeds=seeds)
    sampled = answer(job, lambda message: None)
    assert answer(job, lambda message: None) == sampled
    assert sampled != said(arm, asked, tokens=24)

    whole = max(said(arm, asked, tokens=24), key=lambda one: len(one.text))
    middle = len(whole.text) // 2
    assert middle > 1, whole
    prompts = tuple(one for one in asked if one[0] == whole.prompt_id)
    stop = whole.text[middle : middle + 4]
    cut = AnswerJob(arm, job.asking, prompts, stop=(stop,))
    assert answer(cut, lambda message: None)[0].text == whole.text.partition(stop)[0]
