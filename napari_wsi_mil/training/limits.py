"""What the numbers of every training recipe must be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST = 1e3
"""Of learning rates and clip; beyond it float32 overflows before anything is learned."""


def out_of_limits(
    recipe: Any, *, counts: Mapping[str, int], rates: Sequence[str], amounts: Sequence[str], usual_rate: str
) -> list[str]:
    """Return a sentence for each field of a recipe that makes no sense.

    `counts` are whole numbers with the least each may be, `rates` above 0, `amounts` 0 or more; and `held_out`.
    """
    found = []
    for name, low in counts.items():
        if getattr(recipe, name) < low:
            found.append(f"{name} is at least {low}, got {getattr(recipe, name)}; give a larger number")
    for name in rates:
        if not 0 < getattr(recipe, name) <= MOST:
            value = getattr(recipe, name)
            found.append(f"{name} is a number above 0 and at most {MOST:g}, got {value}; {usual_rate} is usual")
    for name in amounts:
        if not (math.isfinite(getattr(recipe, name)) and getattr(recipe, name) >= 0):
            found.append(f"{name} is 0 or more, got {getattr(recipe, name)}; give a finite number")
    if not 0 < recipe.held_out < 1:
        found.append(f"held_out is a share between 0 and 1, got {recipe.held_out}; 0.2 is usual")
    return found
