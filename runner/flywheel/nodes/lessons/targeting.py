"""Whether there is anything to target: where errors stand, as the probes show it, some bounds need no experiment."""

from __future__ import annotations

from collections.abc import Mapping

from flywheel.text import plural

#: From this share of wrong answers on, rows that failed are the rows as they come.
EVERYWHERE = 0.9


def cannot_pay(generator: str, failures: Mapping[str, int], probes: int, lessons: int) -> str:
    """One sentence with figures where lessons divided over error modes can hardly beat as many drawn without looking;
    empty where they can. `failures`: mode → wrong answers to the `probes`."""
    wrong, shown = sum(failures.values()), [mode for mode, count in failures.items() if count]
    if not wrong:
        return ""
    seen = f"{generator}: {wrong:,} of {plural(probes, 'probe')} wrong"
    if wrong >= EVERYWHERE * probes:
        return f"{seen}: it errs nearly everywhere, so targeting can hardly beat lessons drawn as they come."
    if len(shown) == 1:
        return f"{seen}, all of them {shown[0]}: with one mode there is nothing to divide, so targeting cannot pay."
    if wrong < lessons:
        return f"{seen}, fewer than the {plural(lessons, 'lesson')} they buy: how they divide is mostly chance."
    return ""
