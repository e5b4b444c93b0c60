"""Nim with two heaps: who takes the last stone wins. The rules, the referee, and games of a player with itself."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from flywheel.hashing import fingerprint, seed_from
from flywheel.records import Candidate, Reference, row_id
from flywheel.spec.base import Positive, Share
from flywheel.spec.strategies import Taught

if TYPE_CHECKING:  # the referee needs neither
    from flywheel.nodes.lessons.pieces import Piece

Heaps = tuple[int, int]
OVER: Heaps = (0, 0)
LARGEST = 15
"""Stones in the larger heap at the start, at most."""
LONGEST = 2 * LARGEST
"""Moves of a game, at most: each takes a stone."""


# --- the rules


def read(text: str) -> Heaps | None:
    """The heaps in "7 and 12"; None where it says something else."""
    found = re.fullmatch(r"(\d{1,2}) and (\d{1,2})", text.strip())
    return (int(found[1]), int(found[2])) if found else None


def written(heaps: Heaps) -> str:
    return f"{heaps[0]} and {heaps[1]}"


def moves(heaps: Heaps) -> list[Heaps]:
    """What a move can leave: one heap smaller, the other as it was."""
    a, b = heaps
    return [(n, b) for n in range(a)] + [(a, n) for n in range(b)]


def mirror(heaps: Heaps) -> Heaps:
    return heaps[1], heaps[0]


def wins(left: Heaps) -> bool:
    """Whether who left these heaps wins against everybody (Bouton 1901). No player of the wheel is told."""
    return left[0] == left[1]


# --- the referee


def referee(subject: dict[str, Any]) -> tuple[bool, str]:
    """Whether the move wins its game. The reference is the game's record from this move on: "7 and 7; 7 and 2; …".
    A record that is no game to its end, or begins with another move, is no evidence: the position that the move leaves
    is then adjudicated, as by a tablebase in chess."""
    before, left = read(subject["row"]["heaps"]), read(subject["answer"])
    if before is None or left is None:
        return False, "no position"
    if left not in moves(before):
        return False, "an illegal move"
    record = [read(text) for text in (subject["reference"] or "").split(";")]
    if record[0] == left and record[-1] == OVER:
        return replayed(before, record)
    return wins(left), f"left {written(left)}, from where the other wins"


def replayed(before: Heaps, record: Sequence[Heaps | None]) -> tuple[bool, str]:
    """The first player wins who makes the last of an odd number of moves."""
    for number, left in enumerate(record):
        if left is None or left not in moves(before):
            return False, f"move {number + 1} of the record is illegal"
        before = left
    return len(record) % 2 == 1, "lost the game"


# --- games


@dataclass
class Game:
    """`record`: what each move left, the players in turn; `calls`: the keys of the calls that made them."""

    opening: Heaps
    record: list[Heaps] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    @property
    def heaps(self) -> Heaps:
        return self.record[-1] if self.record else self.opening

    def mirrored(self) -> Game:
        return Game(mirror(self.opening), [mirror(left) for left in self.record], self.calls)

    def turns(self) -> Iterator[tuple[int, Heaps, Heaps, bool]]:
        """(number, heaps before, heaps after, whether its player won) of each move of a game that is over."""
        before = self.opening
        for number, left in enumerate(self.record):
            yield number, before, left, (len(self.record) - number) % 2 == 1
            before = left


class Values:
    """What leaving some heaps is worth, by the games that were played; nothing of the theory of the game."""

    def __init__(self, games: Sequence[Game]) -> None:
        self._left, self._won = Counter[Heaps](), Counter[Heaps]()
        for game in games:
            for _, _, left, won in game.turns():
                self._left[left] += 1
                self._won[left] += won

    def won(self, left: Heaps) -> str:
        return f"{self._won[left]}/{self._left[left]}"

    def of(self, left: Heaps) -> float:
        """A look ahead of one reply: what the other's best one leaves for him, by the rule of succession."""
        return 1 - max((self._share(reply) for reply in moves(left)), default=0.0)

    def _share(self, left: Heaps) -> float:
        return (self._won[left] + 1) / (self._left[left] + 2) if left != OVER else 1.0


class Games(Taught):
    """The best player so far plays with itself. Of each position that was met, the move that looks best after all games
    is the lesson: the one to which the other's best reply has won least."""

    games: Positive = 500
    """Games an iteration, from openings of `data` in turn."""
    noise: Share = 0.25
    """Share of moves that are drawn from the legal ones, so that others than the player's are tried. An illegal one is
    replaced so, too."""

    worth: Share = 0.35
    """Moves that are worth less are not learnt: there may be no good one."""

    by_student_alone: ClassVar[bool] = True
    brings_reference: ClassVar[bool] = True

    def make(self, round: Any, wanted: Mapping[str, int]) -> list[Piece]:
        games = self._openings(round) if wanted else []
        for turn in range(LONGEST):
            self._move(round, [(n, game) for n, game in enumerate(games) if game.heaps != OVER], turn)
        round.notes |= {"games": len(games), "moves": sum(len(game.record) for game in games)}
        return self._lessons(round, games)

    def _openings(self, round: Any) -> list[Game]:
        openings = [heaps for source in round.sources.of("") if (heaps := read(source.row["heaps"]))]
        return [Game(openings[n % len(openings)]) for n in range(self.games)]

    def _move(self, round: Any, live: Sequence[tuple[int, Game]], turn: int) -> None:
        """One move in each game that is not over; all are asked for in one batch."""
        from flywheel.nodes.lessons.pieces import Material

        [teacher] = self.weights
        first = round.shares.first_sample(teacher, "")
        asks = []
        for number, game in live:
            row = {"heaps": written(game.heaps)}
            sample = (first + number) * LONGEST + turn
            asks.append(round.requests.answer(teacher, "", sample, Material(row_id(row), row, None)))
        replies = round.ask(asks) if turn else round.open(asks)
        for (_, game), ask, reply in zip(live, asks, replies, strict=True):
            game.record.append(self._chosen(game.heaps, reply.text, random.Random(seed_from(ask.request.seed, "move"))))
            game.calls.append(reply.key)

    def _chosen(self, heaps: Heaps, said: str, rng: random.Random) -> Heaps:
        legal, left = moves(heaps), read(said)
        return rng.choice(legal) if left not in legal or rng.random() < self.noise else left

    def _lessons(self, round: Any, games: Sequence[Game]) -> list[Piece]:
        """Of each position a game that its best move won. The heaps have no order, so each game counts mirrored,
        too, as the reflections of a board do in AlphaGo Zero."""
        games = [*games, *(game.mirrored() for game in games)]
        values = Values(games)
        winners: dict[Heaps, dict[Heaps, tuple[Game, int]]] = defaultdict(dict)
        for game in games:
            for number, before, left, won in game.turns():
                if won:
                    winners[before].setdefault(left, (game, number))
        best = {before: max(sorted(found), key=values.of) for before, found in winners.items()}
        return [
            self._lesson(round, before, *winners[before][left], values.won(left))
            for before, left in sorted(best.items())
            if values.of(left) >= self.worth
        ]

    def _lesson(self, round: Any, before: Heaps, game: Game, number: int, won: str) -> Piece:
        from flywheel.nodes.lessons.pieces import Piece

        [teacher] = self.weights
        record = [written(left) for left in game.record[number:]]
        return Piece(
            Candidate(
                candidate_id=fingerprint([round.ctx.node.fingerprint, written(before)])[:16],
                task=round.work.task_name, generator=self.name, teacher=teacher, mode=None, call_key=game.calls[number],
                row={"heaps": written(before)}, target=record[0], strategy=self.strategy,
                reference=Reference("; ".join(record), "vote", won),
            )
        )  # fmt: skip
