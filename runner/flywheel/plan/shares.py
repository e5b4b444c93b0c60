"""Dividing a whole: shares with a floor and a cap, and whole numbers that sum up."""

from __future__ import annotations


def spread(masses: list[float], floor: float, cap: float) -> list[float]:
    """Shares that sum to 1 and follow `masses`: none that failed at all under `floor`, none over `cap` while another
    can take its part. All zero where nothing failed."""
    alive = [i for i, mass in enumerate(masses) if mass > 0]
    if not alive:
        return [0.0] * len(masses)
    floor = min(floor, 1 / len(alive))
    cap = max(cap, 1 / len(alive))
    shares = [0.0] * len(masses)
    fixed: dict[int, float] = {}
    while True:
        open_ = [i for i in alive if i not in fixed]
        left = 1 - sum(fixed.values())
        total = sum(masses[i] for i in open_)
        proposed = {i: left * masses[i] / total for i in open_}
        over = {i: cap for i, share in proposed.items() if share > cap + 1e-12}
        under = {i: floor for i, share in proposed.items() if share < floor - 1e-12}
        if not over and not under:
            break
        # Settle the side that moves more mass first, so that floor and cap cannot fight over the same share.
        excess = sum(proposed[i] - cap for i in over)
        lack = sum(floor - proposed[i] for i in under)
        fixed.update(over if excess >= lack else under)
    for i, share in {**fixed, **proposed}.items():
        shares[i] = share
    return shares


def whole(shares: list[float], total: int) -> list[int]:
    """Whole numbers in proportion to `shares` that sum to `total` (largest remainder); zeros for all-zero shares."""
    if not any(shares):
        return [0] * len(shares)
    exact = [share * total for share in shares]
    numbers = [int(x) for x in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (numbers[i] - exact[i], i))
    for i in by_remainder[: total - sum(numbers)]:
        numbers[i] += 1
    return numbers
