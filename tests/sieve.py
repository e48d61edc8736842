"""An outline with holes on which drawing and keyholes are tried. Imported by path, as tests are no package."""

from __future__ import annotations

from shapely import Polygon, box, union_all

COMB = Polygon([(0, 0), (0, 100), (30, 100), (30, 40), (70, 40), (70, 100), (100, 100), (100, 0)])
HOLES = [
    box(5, 60, 25, 80), box(5, 10, 25, 30), box(75, 50, 95, 70), box(40, 5, 60, 25), box(40, 28, 60, 36),
    box(75, 75, 95, 95),
]  # fmt: skip
SIEVE = COMB.difference(union_all(HOLES))
