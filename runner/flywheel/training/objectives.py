"""What a student learns from its own judged answers: DPO, KTO and GRPO, as sums over units that a step adds up.

Why not TRL's trainers: they neither resume bit for bit nor bound a step by memory, and they tokenise otherwise than the
student is asked. The losses are theirs: `tests/training/test_objectives.py` holds them equal on the same batch.

What an answer was likely to be *before* this training is read once, from the adapter that it starts from: no second
model is in memory, and the reference is what the student was, never the bare base.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from flywheel.student.loading import Loaded
from flywheel.student.memory import Row, out_of_memory
from flywheel.student.sampling import read_losses, target_losses
from flywheel.training.ranks import ALONE, Ranks

#: How far the ratio of new to old likelihood of a token counts (Schulman et al. 2017, arXiv 1707.06347).
CLIP = 0.2
#: Far beyond the clip, and far from what no float can hold.
FINITE = 20.0


@dataclass(frozen=True)
class DirectPreference:
    """DPO (Rafailov et al. 2023, arXiv 2305.18290): the chosen answer gains on the rejected one, measured from the
    reference. Beside it `nll` times the chosen answer's own loss (Pang et al. 2024, arXiv 2404.19733), a mean over its
    tokens: a difference alone also grows where both become rarer. A unit is a pair, its two rows one behind the
    other."""

    rows: Sequence[Row]
    pairs: Sequence[tuple[Row, Row]]
    beta: float
    nll: float
    margins: Sequence[float]
    """Of each pair by the reference: log-likelihood of the chosen answer less that of the rejected."""

    @classmethod
    def of(
        cls,
        torch: Any,
        loaded: Loaded,
        pairs: Sequence[tuple[Row, Row]],
        beta: float,
        nll: float,
        ranks: Ranks = ALONE,
    ) -> Self:
        """With the loaded model as the reference."""
        known = likelihoods(torch, loaded, [row for pair in pairs for row in pair], ranks)
        rows = [(chosen[0] + rejected[0], chosen[1] + rejected[1]) for chosen, rejected in pairs]
        return cls(rows, pairs, beta, nll, [known[i] - known[i + 1] for i in range(0, len(known), 2)])

    def weight(self, unit: int) -> int:
        return 1

    def begin(self, torch: Any, loaded: Loaded, units: Sequence[int], ranks: Ranks = ALONE) -> None:
        pass

    def loss(self, torch: Any, loaded: Loaded, units: Sequence[int]) -> Any:
        chosen, rejected = ([self.pairs[i][side] for i in units] for side in (0, 1))
        now = _likelihoods(torch, loaded, [*chosen, *rejected])
        right, wrong = now[: len(units)], now[len(units) :]
        before = torch.tensor([self.margins[i] for i in units], device=now.device)
        lengths = torch.tensor([len(ids) - start for ids, start in chosen], device=now.device)
        preferred = -torch.nn.functional.logsigmoid(self.beta * (right - wrong - before))
        return (preferred - self.nll * right / lengths).sum()


@dataclass
class Unpaired:
    """KTO (Ethayarajh et al. 2024, arXiv 2402.01306): answers that passed gain, answers that failed lose, each measured
    from the reference and from how far the student has moved on answers to *other* questions.

    The rarer of the two weighs as much as the other together, as the paper advises.
    """

    rows: Sequence[Row]
    passed: Sequence[bool]
    weights: Sequence[float]
    beta: float
    before: Sequence[float]
    """Log-likelihoods by the reference."""
    others: Sequence[Row]
    """Each row with the answer of another."""
    others_before: Sequence[float]
    moved: float = 0.0
    """How far the student has moved: an estimate of the divergence from the reference, for the step at hand."""

    @classmethod
    def of(
        cls, torch: Any, loaded: Loaded, rows: Sequence[Row], passed: list[bool], beta: float, ranks: Ranks = ALONE
    ) -> Self:
        """With the loaded model as the reference."""
        others = [_answered(rows[i], rows[i - 1]) for i in range(len(rows))]
        known = (likelihoods(torch, loaded, found, ranks) for found in (rows, others))
        good, bad = passed.count(True), passed.count(False)
        weights = [max(1.0, bad / good if one else good / bad) for one in passed]
        return cls(rows, passed, weights, beta, next(known), others, next(known))

    def weight(self, unit: int) -> int:
        return 1

    def begin(self, torch: Any, loaded: Loaded, units: Sequence[int], ranks: Ranks = ALONE) -> None:
        now = likelihoods(torch, loaded, [self.others[i] for i in units], ranks)
        moves = [after - self.others_before[i] for after, i in zip(now, units, strict=True)]
        self.moved = max(0.0, sum(moves) / len(moves))

    def loss(self, torch: Any, loaded: Loaded, units: Sequence[int]) -> Any:
        now = _likelihoods(torch, loaded, [self.rows[i] for i in units])
        before = torch.tensor([self.before[i] for i in units], device=now.device)
        sign = torch.tensor([1.0 if self.passed[i] else -1.0 for i in units], device=now.device)
        weights = torch.tensor([self.weights[i] for i in units], device=now.device)
        return (weights * (1 - torch.sigmoid(self.beta * sign * (now - before - self.moved)))).sum()


@dataclass(frozen=True)
class GroupRelative:
    """GRPO (Shao et al. 2024, arXiv 2402.03300) without a divergence term: a token of an answer gains by how much more
    its answer earned than the others to the same question, within a clipped ratio.

    The advantage is the reward less the group's mean, not divided by its deviation, and a step is a mean over tokens,
    not over answers first: both would favour some questions or lengths for no reason (Liu et al. 2025, arXiv
    2503.20783; Yu et al. 2025, arXiv 2503.14476).
    """

    rows: Sequence[Row]
    advantages: Sequence[float]
    before: Sequence[Sequence[float]] = field(repr=False)
    """Of each row's answer tokens: the loss in nats by the student that gave the answer."""

    @classmethod
    def of(
        cls, torch: Any, loaded: Loaded, rows: Sequence[Row], advantages: Sequence[float], ranks: Ranks = ALONE
    ) -> Self:
        """With the loaded model as the student that gave the answers."""
        return cls(rows, advantages, token_losses(torch, loaded, rows, ranks))

    def weight(self, unit: int) -> int:
        return len(self.rows[unit][0]) - self.rows[unit][1]

    def begin(self, torch: Any, loaded: Loaded, units: Sequence[int], ranks: Ranks = ALONE) -> None:
        pass

    def loss(self, torch: Any, loaded: Loaded, units: Sequence[int]) -> Any:
        losses, owners = target_losses(torch, loaded, [self.rows[i] for i in units])
        before = torch.tensor([loss for i in units for loss in self.before[i]], device=losses.device)
        advantage = torch.tensor([self.advantages[i] for i in units], device=losses.device)[owners]
        ratio = (before - losses).clamp(max=FINITE).exp()
        return -torch.minimum(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage).sum()


# --- likelihoods ------------------------------------------------------------------------------------------------------


def _likelihoods(torch: Any, loaded: Loaded, rows: Sequence[Row]) -> Any:
    """Log-likelihood of each row's answer in nats, shape (rows,), to go back from."""
    losses, owners = target_losses(torch, loaded, rows)
    return -torch.zeros(len(rows), device=losses.device).index_add(0, owners, losses)


def likelihoods(torch: Any, loaded: Loaded, rows: Sequence[Row], ranks: Ranks = ALONE) -> list[float]:
    """The same as numbers, in parts that fit into memory."""
    return [-sum(losses) for losses in token_losses(torch, loaded, rows, ranks)]


def token_losses(torch: Any, loaded: Loaded, rows: Sequence[Row], ranks: Ranks = ALONE) -> list[list[float]]:
    """Of each row's answer tokens the loss in nats, in parts that fit into memory.

    Each process reads its share, or all rows where the weights are spread: all must go through them equally often.
    Raises MemoryError in all where one row does not fit in one of them.
    """
    if ranks.world == 1 or loaded.sharded:
        found = _read(torch, loaded, rows, range(len(rows)))
    else:
        found = _read_by_all(torch, loaded, rows, ranks)
    return [found[i] for i in range(len(rows))]


def _read(torch: Any, loaded: Loaded, rows: Sequence[Row], places: Sequence[int]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for part, losses, _ in read_losses(torch, loaded, rows, sorted(places, key=lambda i: len(rows[i][0]))):
        lengths = [len(rows[i][0]) - rows[i][1] for i in part]
        found.update(zip(part, (each.tolist() for each in losses.split(lengths)), strict=True))
    return found


def _read_by_all(torch: Any, loaded: Loaded, rows: Sequence[Row], ranks: Ranks) -> dict[int, list[float]]:
    own: dict[int, list[float]] | None = None
    try:
        own = _read(torch, loaded, rows, range(ranks.rank, len(rows), ranks.world))
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
    every = ranks.gathered(torch, own)  # who ran out of memory comes here, too: the others wait for it
    if None in every:
        raise MemoryError("out of memory in one of the processes")
    return {place: losses for known in every for place, losses in known.items()}


def _answered(row: Row, other: Row) -> Row:
    """The prompt of one with the answer of the other."""
    ids, start = row
    return ids[:start] + other[0][other[1] :], start
