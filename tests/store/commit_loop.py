"""Kills a process that commits, over and over, and checks after each kill that the store has what was acknowledged.

A script of its own that forks before it opens any store: a fresh interpreter for each of fifty kills takes a minute.
"""

import os
import random
import signal
import sys
from pathlib import Path

import pyarrow  # noqa: F401  # loaded once, for all children

from flywheel.store import Store


def commit_for_ever(path: Path, first: int, said: int) -> None:
    with Store(path) as store:
        for number in range(first, first + 1_000_000):
            with store.transaction() as transaction:
                transaction.insert("losses", [{"node": str(number), "step": part, "loss": 0.5} for part in (1, 2)])
            os.write(said, b"%d\n" % number)


def killed_after(path: Path, first: int, commits: int) -> int:
    """The last commit that was acknowledged before the kill, or `first` - 1."""
    hear, said = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(hear)
        commit_for_ever(path, first, said)
    os.close(said)
    lines = b""
    while lines.count(b"\n") < commits and (block := os.read(hear, 4_096)):
        lines += block
    os.kill(child, signal.SIGKILL)
    while block := os.read(hear, 4_096):
        lines += block
    os.waitpid(child, 0)
    os.close(hear)
    return int(lines.split()[-1]) if lines else first - 1


def kept(path: Path) -> tuple[int, bool]:
    """(how many commits are there, whether they are whole and without a gap); read by a child of its own."""
    hear, said = os.pipe()
    child = os.fork()
    if child == 0:
        with Store(path) as store:
            rows = store.query("SELECT node, count(*) AS n FROM losses GROUP BY node")
        whole = all(row["n"] == 2 for row in rows) and {int(row["node"]) for row in rows} == set(range(len(rows)))
        os.write(said, b"%d %d" % (len(rows), whole))
        os._exit(0)
    os.close(said)
    count, whole = os.read(hear, 100).split()
    os.waitpid(child, 0)
    os.close(hear)
    return int(count), whole == b"1"


def main(path: Path, kills: int) -> None:
    rng, there, acknowledged = random.Random(1), 0, 0
    for number in range(kills):
        last = killed_after(path, there, rng.randint(0, 40))
        there, whole = kept(path)
        if not whole or there <= last:
            sys.exit(f"kill {number}: commit {last} was acknowledged; {there} are there, whole: {whole}")
        acknowledged = there
    print(f"{kills} kills, {acknowledged} commits")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
