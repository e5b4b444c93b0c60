"""Whether litellm knows the provider of a model: any other it refuses at the first call."""

from __future__ import annotations

import os
from collections.abc import Iterable
from difflib import get_close_matches

from flywheel.errors import Fault
from flywheel.spec import secrets
from flywheel.spec.teachers import Teacher
from flywheel.teachers.litellm import is_refused, packaged, priced_models
from flywheel.text import one_line

#: Of names, how alike two must be for one to be meant (`difflib`): providers are short, and near each other.
_ALIKE = 0.75


def check_routes(teachers: Iterable[tuple[str, Teacher]]) -> list[Fault]:
    """A fault for each teacher whose model litellm refuses before it asks anybody. One whose address cannot be told
    yet is passed over, for litellm reads providers out of addresses, too."""
    return [
        Fault(
            f'litellm knows no provider for "{one_line(teacher.routed_as, 80)}", and refuses it at the first call.',
            ("teachers", name, "model"),
            _mend(teacher),
        )
        for name, teacher in teachers
        if teacher.routed_as and not _names_a_provider(teacher) and _is_refused(teacher)
    ]


def _names_a_provider(teacher: Teacher) -> bool:
    """Without importing litellm, which takes seconds."""
    provider, slash, _ = teacher.routed_as.partition("/")
    return bool(slash) and provider in _providers()


def _providers() -> frozenset[str]:
    """Those of a file in litellm's package; none where a release has no such file."""
    table = packaged("provider_endpoints_support_backup.json")
    return frozenset(table.get("providers", ())) if isinstance(table, dict) else frozenset()


def _is_refused(teacher: Teacher) -> bool:
    address = teacher.address
    if address and not all(os.environ.get(name) for name in secrets.names(address)):
        return False
    return is_refused(teacher.routed_as, secrets.resolve_env(address) if address else None)


def _mend(teacher: Teacher) -> str:
    model = teacher.routed_as
    provider, slash, rest = model.partition("/")
    if slash and (near := get_close_matches(provider, _providers(), 1, _ALIKE)):
        return f'Did you mean "{near[0]}/{rest}"?'
    if teacher.address:
        return f"Write openai/{model}: a server of your own speaks OpenAI's protocol."
    if near := get_close_matches(model, priced_models(), 1, _ALIKE):
        return f'Did you mean "{near[0]}"?'
    return f"Write provider/model, such as openai/{model}; of a server of your own add api_base."
