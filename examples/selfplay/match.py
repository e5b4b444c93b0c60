"""Two iterations' players meet: `python match.py 2 1`, where 0 is the base. Of each opening that no lesson has both are
first once; an illegal move loses."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nim import OVER, Heaps, moves, read, written

from flywheel import Project

HERE = Path(__file__).parent


@dataclass
class Board:
    heaps: Heaps
    turn: int
    """The iteration whose player is to move."""
    winner: int | None = None


def main() -> None:
    one, other = int(sys.argv[1]), int(sys.argv[2])
    rows = [json.loads(line) for line in (HERE / "rows" / "holdout.jsonl").read_text().splitlines()]
    openings = [heaps for row in rows if (heaps := read(row["heaps"]))]
    rivals = {one: other, other: one}
    boards = [Board(heaps, first) for heaps in openings for first in rivals]
    with Project.open(HERE) as project:
        while any(board.winner is None for board in boards):
            for player in rivals:
                move(project, [b for b in boards if b.winner is None and b.turn == player], player, rivals)
    won = Counter(board.winner for board in boards)[one]
    print(f"{len(boards)} games: iteration {one} won {won} ({won / len(boards):.1%}) against iteration {other}")


def move(project: Project, boards: Sequence[Board], player: int, rivals: Mapping[int, int]) -> None:
    """The player's move on each of these boards."""
    if not boards:
        return
    answers = project.answers("move", [{"heaps": written(board.heaps)} for board in boards], iteration=player)
    for board, answer in zip(boards, answers, strict=True):
        left = read(answer.answer)
        if left is None or left not in moves(board.heaps):
            board.winner = rivals[player]
        elif left == OVER:
            board.winner = player
        else:
            board.heaps, board.turn = left, rivals[player]


if __name__ == "__main__":
    main()
