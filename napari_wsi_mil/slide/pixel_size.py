"""Which of a file's statements about its pixel size to believe."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from napari_wsi_mil.slide.spec import PixelSize

if TYPE_CHECKING:
    from collections.abc import Sequence

SANE_UM = (0.05, 40.0)
AGREE = 0.05
SQUARE = 1.1
OBJECTIVE_UM = 10.0
"""Light microscopes scan 0.5 um/px at 20x and 0.25 at 40x: their product is about 10."""
OBJECTIVE_FACTOR = 2.0
CM_UM, INCH_UM = 10_000.0, 25_400.0
PRINT_DPI = (72, 96, 100, 120, 150, 180, 200, 240, 300, 360, 400, 600, 720, 1200)
"""What image programs write when nobody said anything about size."""


class Claim(NamedTuple):
    """One field of a file that states the level-0 pixel size."""

    source: str
    yx_um: tuple[float, float]


def judge(claims: Sequence[Claim], objective: float | None) -> PixelSize:
    """Return the first claim, with a problem where it is absurd or another field contradicts it."""
    usable = [c for c in claims if all(v > 0 and v < float("inf") for v in c.yx_um)]
    if not usable:
        said = f"{claims[0].source} says {_text(claims[0].yx_um)} um/px" if claims else "the file holds no pixel size"
        return PixelSize(problem=said)
    first = usable[0]
    return PixelSize(first.yx_um, first.source, _problem(first, usable[1:], objective))


def _problem(first: Claim, others: Sequence[Claim], objective: float | None) -> str | None:
    (y, x), said = first.yx_um, f"{first.source} says {_text(first.yx_um)} um/px"
    if not (SANE_UM[0] <= y <= SANE_UM[1] and SANE_UM[0] <= x <= SANE_UM[1]):
        return f"{said}, but slides have {SANE_UM[0]:g} to {SANE_UM[1]:g} um/px"
    if max(y / x, x / y) > SQUARE:
        return f"{said}, but pixels are square on every scanner"
    for other in others:
        if not all(SANE_UM[0] <= v <= SANE_UM[1] for v in other.yx_um):
            continue  # nonsense contradicts nothing
        if any(abs(a / b - 1) > AGREE for a, b in zip(first.yx_um, other.yx_um, strict=True)):
            return f"{said}, but {other.source} says {_text(other.yx_um)} um/px"
    mean = (y + x) / 2
    if objective and not 1 / OBJECTIVE_FACTOR <= mean * objective / OBJECTIVE_UM <= OBJECTIVE_FACTOR:
        return f"{said}, but a {objective:g}x objective gives about {OBJECTIVE_UM / objective:g} um/px"
    return None


def _text(yx_um: tuple[float, float]) -> str:
    y, x = (f"{v:.4g}" for v in yx_um)
    return y if y == x else f"{y} x {x} (y x x)"


def from_resolution(yx_per_unit: tuple[float, float], unit_um: float | None) -> tuple[float, float] | None:
    """Return um/px of a resolution in pixels per unit; None without unit or where it is a printer's default."""
    if unit_um is None or min(yx_per_unit) <= 0:
        return None
    um = unit_um / yx_per_unit[0], unit_um / yx_per_unit[1]
    dpi = INCH_UM / um[0]
    if any(abs(dpi / d - 1) < 0.005 for d in PRINT_DPI) or yx_per_unit == (1.0, 1.0):
        return None
    return um
