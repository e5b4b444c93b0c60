"""How far the same model's logits may be apart where sums are taken in another order."""

from __future__ import annotations

#: As a share of the greatest logit. Float32 rounds at 6e-8 a step; in bfloat16 a weight itself is only known to 1 in
#: 256.
_SHARES = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 5e-2}


def rounding(dtype: str, scale: float) -> float:
    """Of logits, by rounding alone. `dtype` of the weights, such as `float32`; `scale`: the greatest absolute logit."""
    return _SHARES.get(dtype, _SHARES["float32"]) * scale
