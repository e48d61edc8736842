"""`python -m napari_wsi_mil.procedural OUT.svs`: paint one slide and, beside it, OUT.geojson with the truth."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from napari_wsi_mil.errors import WsiMilError
from napari_wsi_mil.procedural import render_slide


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns 0, or 2 with a sentence on stderr when the request is bad."""
    parser = argparse.ArgumentParser(prog="python -m napari_wsi_mil.procedural", description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT.svs")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--height", type=int, default=5120, help="level-0 pixels (0.5 um each)")
    parser.add_argument("--width", type=int, default=7168, help="level-0 pixels (0.5 um each)")
    parser.add_argument("--no-tumour", action="store_true")
    parser.add_argument("--no-artefacts", action="store_true")
    parser.add_argument("--stain-spread", type=float, default=0.0, help="0: reference stain; 1: as between hospitals")
    parser.add_argument("--quality", type=int, default=72, help="JPEG quality")
    a = parser.parse_args(arguments)
    try:
        truth = render_slide(
            a.out,
            seed=a.seed,
            height_px=a.height,
            width_px=a.width,
            tumour=not a.no_tumour,
            artefacts=not a.no_artefacts,
            stain_spread=a.stain_spread,
            quality=a.quality,
        )
    except WsiMilError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    a.out.with_suffix(".geojson").write_text(json.dumps(truth.to_geojson()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
