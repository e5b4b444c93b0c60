"""The losses of learning from judged answers: TRL's, on the same batch; and what they pull where."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flywheel.spec.models import Train
from flywheel.student.chat import Chat, Prompter
from flywheel.student.loading import Arm, Loaded, load_base
from flywheel.student.sampling import completion_losses
from flywheel.training.lora import Objective, with_adapter
from flywheel.training.objectives import DirectPreference, GroupRelative, Unpaired, likelihoods

torch = pytest.importorskip("torch")

Row = tuple[list[int], int]
BETA, NLL = 0.3, 0.5
SHORT = ("blue", "grey", "pink")
ANSWERS = ("blue", "red indeed", "green", "a red one", "blue", "x")
PASSED = [True, False, True, False, False, False]
ADVANTAGES = [0.5, -0.5, 0.25, -0.25, 0.7, -0.7]


@pytest.fixture
def loaded(mini_student: Path) -> Loaded:
    """A student with a fresh adapter."""
    torch.manual_seed(0)
    found = load_base(Arm(str(mini_student), None, "float32", "cpu", "hash"))
    found.model = with_adapter(found.model, Train(rank=4, targets="all-linear").of_lessons, None).eval()
    return found


def rows_of(loaded: Loaded) -> list[Row]:
    prompter = Prompter(loaded.tokenizer, Chat())
    return [prompter.supervised(f"big thing {i} is", answer) for i, answer in enumerate(ANSWERS)]


def pairs_of(rows: list[Row]) -> list[tuple[Row, Row]]:
    return list(zip(rows[::2], rows[1::2], strict=True))


def moved(loaded: Loaded) -> None:
    """The adapter is another than the reference now."""
    torch.manual_seed(1)
    for parameter in loaded.model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.02 * torch.randn_like(parameter)


def mean_of(loaded: Loaded, objective: Objective) -> Any:
    units = range(len(objective.rows))
    objective.begin(torch, loaded, units)
    return objective.loss(torch, loaded, units) / sum(objective.weight(i) for i in units)


def gradient(loaded: Loaded, loss: Any) -> Any:
    trained = [p for p in loaded.model.parameters() if p.requires_grad]
    found = torch.autograd.grad(loss, trained, allow_unused=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(trained, found, strict=True)])


def same(loaded: Loaded, theirs: Any, objective: Objective) -> bool:
    """Loss and gradient."""
    ours = mean_of(loaded, objective)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-4)
    return bool(torch.allclose(gradient(loaded, ours), gradient(loaded, theirs), rtol=1e-3, atol=1e-6))


def padded(rows: list[list[int]], value: int, left: bool = False) -> Any:
    width = max(map(len, rows))
    fill = [[value] * (width - len(row)) for row in rows]
    return torch.tensor([f + row if left else row + f for f, row in zip(fill, rows, strict=True)])


def batch(loaded: Loaded, rows: list[Row], prefix: str = "") -> dict[str, Any]:
    """As TRL's collators make it."""
    return {
        f"{prefix}input_ids": padded([ids for ids, _ in rows], loaded.tokenizer.pad_token_id),
        f"{prefix}attention_mask": padded([[1] * len(ids) for ids, _ in rows], 0),
        f"{prefix}completion_mask": padded([[0] * start + [1] * (len(ids) - start) for ids, start in rows], 0),
    }


@pytest.fixture
def trl(tmp_path: Path) -> tuple[Any, dict[str, Any]]:
    found = pytest.importorskip("trl", reason="TRL is not installed: the extra `dev` has it")
    quiet = {
        "output_dir": str(tmp_path),
        "report_to": [],
        "bf16": False,
        "use_cpu": True,
        "gradient_checkpointing": False,
    }
    return found, quiet


def dataset(*rows: dict[str, Any]) -> Any:
    from datasets import Dataset

    return Dataset.from_list(list(rows))


@pytest.mark.parametrize("nll", [0.0, 0.3])
def test_dpo_is_that_of_trl_with_the_adapter_it_starts_from_as_the_reference(
    loaded: Loaded, trl: Any, nll: float
) -> None:
    """TRL's own loss of chosen answers is a mean over all tokens of a batch; ours is one over answers, the same where
    these are as long."""
    library, quiet = trl
    chosen = [Prompter(loaded.tokenizer, Chat()).supervised(f"thing {i} is", word) for i, word in enumerate(SHORT)]
    pairs = [(right, rejected) for right, (_, rejected) in zip(chosen, pairs_of(rows_of(loaded)), strict=False)]
    objective = DirectPreference.of(torch, loaded, pairs, BETA, nll)
    trainer = library.DPOTrainer(
        model=loaded.model,
        args=library.DPOConfig(
            beta=BETA, max_length=None, loss_type=["sigmoid", "sft"], loss_weights=[1.0, nll], **quiet
        ),
        train_dataset=dataset({"prompt": "a", "chosen": "b", "rejected": "c"}),
        processing_class=loaded.tokenizer,
    )
    moved_policy(trainer, loaded)
    flat = [chosen for chosen, _ in pairs] + [rejected for _, rejected in pairs]

    assert same(loaded, trainer.compute_loss(trainer.model, batch(loaded, flat)), objective)


def test_kto_is_that_of_trl(loaded: Loaded, trl: Any) -> None:
    library, quiet = trl
    objective = Unpaired.of(torch, loaded, rows_of(loaded), PASSED, BETA)
    examples = ({"prompt": "a", "completion": word, "label": word == "b"} for word in "bc")
    weights = {"desirable_weight": objective.weights[0], "undesirable_weight": objective.weights[1]}
    options = {"train_sampling_strategy": "sequential", "per_device_train_batch_size": 2, "max_length": None, **weights}
    trainer = library.KTOTrainer(
        model=loaded.model,
        args=library.KTOConfig(beta=BETA, **options, **quiet),
        train_dataset=dataset(*examples),
        processing_class=loaded.tokenizer,
    )
    moved_policy(trainer, loaded)
    inputs = {
        **batch(loaded, list(objective.rows)),
        **batch(loaded, list(objective.others), "KL_"),
        "label": torch.tensor(PASSED),
    }

    assert same(loaded, trainer.compute_loss(trainer.model, inputs), objective)


def test_grpo_is_that_of_trl_as_a_mean_over_tokens(loaded: Loaded, trl: Any) -> None:
    library, quiet = trl
    rows = rows_of(loaded)
    objective = GroupRelative.of(torch, loaded, rows, ADVANTAGES)
    trainer = library.GRPOTrainer(
        model=loaded.model,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=library.GRPOConfig(
            loss_type="bnpo", num_generations=2, per_device_train_batch_size=2, gradient_accumulation_steps=1, **quiet
        ),
        train_dataset=dataset({"prompt": "a"}, {"prompt": "b"}),
        processing_class=loaded.tokenizer,
    )
    trainer.current_gradient_accumulation_steps = 1
    moved_policy(trainer, loaded)
    asked, said = [ids[:start] for ids, start in rows], [ids[start:] for ids, start in rows]
    pad = loaded.tokenizer.pad_token_id
    before = torch.nn.utils.rnn.pad_sequence([torch.tensor([-x for x in row]) for row in objective.before], True)
    inputs = {
        "prompt_ids": padded(asked, pad, left=True),
        "prompt_mask": padded([[1] * len(ids) for ids in asked], 0, left=True),
        "completion_ids": padded(said, pad),
        "completion_mask": padded([[1] * len(ids) for ids in said], 0),
        "advantages": torch.tensor(ADVANTAGES),
        "old_per_token_logps": before,
    }

    assert same(loaded, trainer._compute_loss(trainer.model, inputs), objective)


def moved_policy(trainer: Any, loaded: Loaded) -> None:
    """The adapter that learns moves; the copy of it that a trainer keeps as its reference stays."""
    assert trainer.model is loaded.model
    moved(loaded)


# --- what they pull where ---------------------------------------------------------------------------------------------


def test_before_anything_moved_a_pair_says_nothing(loaded: Loaded) -> None:
    objective = DirectPreference.of(torch, loaded, pairs_of(rows_of(loaded)), BETA, 0.0)

    assert mean_of(loaded, objective).item() == pytest.approx(math.log(2), rel=1e-5)


def test_beside_a_pair_the_chosen_answer_is_learned_as_a_lesson_is(loaded: Loaded) -> None:
    """Each answer as much, however long: its own mean over tokens."""
    pairs = pairs_of(rows_of(loaded))
    alone, beside = (mean_of(loaded, DirectPreference.of(torch, loaded, pairs, BETA, nll)) for nll in (0.0, NLL))
    asked = [(f"big thing {i} is", answer) for i, answer in enumerate(ANSWERS)][::2]
    lessons = completion_losses(loaded, asked, chat=Chat())
    assert (beside - alone).item() == pytest.approx(NLL * sum(lessons) / len(lessons), rel=1e-4)


def paired(loaded: Loaded) -> Objective:
    return DirectPreference.of(torch, loaded, pairs_of(rows_of(loaded)), BETA, NLL)


def unpaired(loaded: Loaded) -> Objective:
    return Unpaired.of(torch, loaded, rows_of(loaded), [True, False] * 3, BETA)


def grouped(loaded: Loaded) -> Objective:
    return GroupRelative.of(torch, loaded, rows_of(loaded), [0.5, -0.5] * 3)


@pytest.mark.parametrize("made", [paired, unpaired, grouped])
def test_a_step_makes_the_right_answers_likelier_than_the_wrong_ones(
    loaded: Loaded, made: Callable[[Loaded], Objective]
) -> None:
    rows = rows_of(loaded)

    def lead() -> float:
        known = likelihoods(torch, loaded, rows)
        return sum(known[::2]) - sum(known[1::2])

    before, objective = lead(), made(loaded)
    optimizer = torch.optim.SGD([p for p in loaded.model.parameters() if p.requires_grad], lr=0.05)
    mean_of(loaded, objective).backward()
    optimizer.step()

    assert lead() > before


def test_a_token_that_moved_beyond_the_clip_pulls_no_further(loaded: Loaded) -> None:
    rows = rows_of(loaded)[:1]
    objective = GroupRelative(rows, [1.0], [[1000.0] * (len(rows[0][0]) - rows[0][1])])

    assert not gradient(loaded, mean_of(loaded, objective)).any()


def test_the_rarer_verdict_weighs_as_much_as_the_other(loaded: Loaded) -> None:
    weights = Unpaired.of(torch, loaded, rows_of(loaded), PASSED, BETA).weights

    assert sum(w for w, passed in zip(weights, PASSED, strict=True) if passed) == pytest.approx(
        sum(w for w, passed in zip(weights, PASSED, strict=True) if not passed)
    )
