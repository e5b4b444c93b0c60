"""Loading and asking a real, tiny student."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from flywheel.errors import FlywheelError, Tampered
from flywheel.student import locate, model_id
from flywheel.student.chat import Chat, Prompter
from flywheel.student.loading import Arm, Loaded, check_adapter, load_base
from flywheel.student.sampling import collate, completion_losses, generate
from flywheel.student.work import AnswerJob, Asking, answer

PROMPTS = [(str(i), f"{'word ' * (i % 5)}item {i} is") for i in range(12)]


def arm(folder: Path) -> Arm:
    return Arm(str(folder), None, "float32", "cpu", "hash")


@pytest.fixture(scope="module")
def mini(mini_student: Path) -> Loaded:
    return load_base(arm(mini_student))


@pytest.fixture(scope="module")
def chat(chat_student: Path) -> Loaded:
    return load_base(arm(chat_student))


def answers(loaded: Loaded, batch_size: int, **options: object) -> list[str]:
    found = generate(loaded, PROMPTS, chat=Chat(), max_new_tokens=8, batch_size=batch_size, **options)  # type: ignore[arg-type]
    assert [answer.prompt_id for answer in found] == [name for name, _ in PROMPTS]
    return [answer.text for answer in found]


def test_answers_do_not_hang_on_the_batch(mini: Loaded) -> None:
    assert answers(mini, 1) == answers(mini, 5) == answers(mini, 64)


def test_an_answer_ends_before_the_first_string_to_stop_at(mini: Loaded) -> None:
    whole = answers(mini, 5)
    stop = [whole[0][2:4], "never said"]

    found = generate(mini, PROMPTS, chat=Chat(), max_new_tokens=8, batch_size=5, stop=stop)

    assert [answer.text for answer in found] == [text.split(stop[0])[0] for text in whole]
    for said, text in zip(found, whole, strict=True):
        assert not (said.truncated and stop[0] in text)
    assert sum(answer.tokens for answer in found) < 8 * len(found), "it stops early"


def test_a_sampled_answer_hangs_on_its_own_seed_alone(mini: Loaded) -> None:
    seeds = list(range(len(PROMPTS)))
    one = answers(mini, 3, temperature=1.0, seeds=seeds)

    assert one == answers(mini, 64, temperature=1.0, seeds=seeds)
    assert one != answers(mini, 3, temperature=1.0, seeds=[seed + 1 for seed in seeds])


@pytest.mark.parametrize("of", [1, 2, 3, 40])
def test_parts_of_a_job_are_together_the_job(mini_student: Path, of: int) -> None:
    """Batch by batch: a model that is asked elsewhere reads the rows that it would have read together here."""
    asked = (*PROMPTS, ("long", "word " * 600))
    job = AnswerJob(arm(mini_student), Asking(Chat(), 8, 2), asked, 1.0, seeds=tuple(range(len(asked))))
    told: list[dict[str, int]] = []

    parts = job.parts(of)
    found = [answer(part, lambda message: None) for part in parts]
    for part in parts:
        ends: list[dict[str, int]] = []
        answer(part, ends.append)
        told.append(ends[-1])

    assert len(parts) == min(of, 7)
    assert job.joined(found) == answer(job, lambda message: None)
    assert sum(message["done"] for message in told) == len(asked), (
        "progress adds up, those that do not fit counted once"
    )


def test_a_narrow_nucleus_is_nearly_greedy(mini: Loaded) -> None:
    assert answers(mini, 4, temperature=1.0, top_p=1e-6, seeds=[1] * len(PROMPTS)) == answers(mini, 4)


def test_an_answer_that_meets_the_limit_is_marked(mini: Loaded) -> None:
    found = generate(mini, PROMPTS[:1], chat=Chat(), max_new_tokens=3, batch_size=1)[0]

    assert found.truncated == (found.tokens == 3)


def test_a_prompt_that_leaves_no_room_for_an_answer_is_not_asked(mini: Loaded) -> None:
    asked = [("long", "word " * 600), *PROMPTS[:2]]

    long, *others = generate(mini, asked, chat=Chat(), max_new_tokens=8, batch_size=5)

    assert (long.prompt_id, long.text, long.tokens, long.truncated) == ("long", "", 0, False)
    assert re.fullmatch(r"a prompt of [\d,]+ tokens and 8 of answer do not fit the model's 512", long.problem)
    assert others == generate(mini, PROMPTS[:2], chat=Chat(), max_new_tokens=8, batch_size=5)
    assert not any(answer.problem for answer in others)


def test_without_a_chat_template_the_prompt_is_the_prompt(mini: Loaded) -> None:
    prompter = Prompter(mini.tokenizer, Chat("be kind"))
    ids, start = prompter.supervised("ask", "answer")
    assert prompter.text("ask") == "ask"
    assert mini.tokenizer.decode(ids[start:]) == "answer<eos>"


def test_a_chat_template_wraps_prompt_and_answer(chat: Loaded) -> None:
    prompter = Prompter(chat.tokenizer, Chat("be kind"))
    ids, start = prompter.supervised("ask", "answer")

    assert (
        prompter.text("ask")
        == "<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\nask<|im_end|>\n<|im_start|>assistant\n"
    )
    assert chat.tokenizer.decode(ids[start:]) == "answer<|im_end|>"


def test_special_tokens_of_the_template_are_single_tokens(chat: Loaded) -> None:
    ids = Prompter(chat.tokenizer, Chat()).ids("a")

    assert ids.count(chat.tokenizer.convert_tokens_to_ids("<|im_start|>")) == 2


@pytest.mark.parametrize("which", ["mini", "chat"])
def test_only_the_answer_is_learned(which: str, request: pytest.FixtureRequest) -> None:
    import torch

    loaded = request.getfixturevalue(which)
    prompter = Prompter(loaded.tokenizer, Chat())
    rows = [prompter.supervised("ask", "answer"), prompter.supervised("a longer one", "b")]

    ids, labels = collate(torch, loaded.tokenizer, rows, "cpu")

    learned = [loaded.tokenizer.decode(row[row != -100]) for row in labels]
    assert learned[0].startswith("answer")
    assert learned[1].startswith("b")
    assert ids.shape == labels.shape
    assert (labels[1, len(rows[1][0]) :] == -100).all(), "padding"


def test_the_loss_of_a_pair_hangs_on_the_pair_alone(mini: Loaded) -> None:
    pairs = [(text, "red" if i % 2 else "a longer answer") for i, (_, text) in enumerate(PROMPTS)]

    whole = completion_losses(mini, pairs, chat=Chat())

    one_by_one = [completion_losses(mini, [pair], chat=Chat())[0] for pair in pairs]
    assert whole == pytest.approx(one_by_one, abs=1e-4)
    assert all(loss > 0 for loss in whole)


# --- identity and safety ----------------------------------------------------------------------------------------------


def test_a_student_is_its_weights_and_its_tokenizer(tmp_path: Path, mini_student: Path) -> None:
    shutil.copytree(mini_student, tmp_path / "one")
    first = locate("one", None, tmp_path).weights_hash
    (tmp_path / "one" / "README.md").write_text("words")
    assert locate("one", None, tmp_path).weights_hash == first

    (tmp_path / "one" / "tokenizer_config.json").write_text("{}")
    assert locate("one", None, tmp_path).weights_hash != first


def test_model_ids_tell_base_and_adapter_apart() -> None:
    assert len({model_id("b", None), model_id("b", "a"), model_id("a", "b"), model_id("c", None)}) == 4


def test_pickled_weights_are_refused_before_loading(tmp_path: Path) -> None:
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "pytorch_model.bin").write_bytes(b"pickle")

    with pytest.raises(FlywheelError, match="safetensors"):
        locate("evil", None, tmp_path)


def test_an_unpinned_hub_id_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FlywheelError, match=r"student\.revision"):
        locate("somebody/some-model", None, tmp_path)


def test_a_folder_that_is_no_model_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"nothing")

    with pytest.raises(FlywheelError, match="cannot be loaded"):
        load_base(arm(tmp_path))


def test_a_pickled_adapter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.bin").write_bytes(b"pickle")

    with pytest.raises(FlywheelError, match="pickled"):
        check_adapter(tmp_path, None)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_an_adapter_that_was_changed_is_refused(tmp_path: Path, name: str) -> None:
    from flywheel.student.loading import adapter_hash

    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
    (tmp_path / "adapter_config.json").write_text('{"r": 4}')
    expected = adapter_hash(tmp_path)
    check_adapter(tmp_path, expected)

    (tmp_path / name).write_text('{"r": 5}')

    with pytest.raises(Tampered, match="changed"):
        check_adapter(tmp_path, expected)
