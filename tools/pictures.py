"""Draw what the window shows: `make pictures SLIDES="a.svs b.svs" [MPP=0.5]`, or the README's own with `--readme`.

For each slide NAME: NAME_window.png, the napari window with the attention run done, and NAME_heatmap.png, the tissue
beside its heatmap with the true outline where NAME.geojson lies beside the slide or in ../truth.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from PIL import Image

from napari_wsi_mil.errors import WsiMilError
from napari_wsi_mil.gui import demo
from napari_wsi_mil.gui import window as windows
from napari_wsi_mil.interop.geojson import read_geojson
from napari_wsi_mil.interop.rasters import overlay_png
from napari_wsi_mil.sample import sample_path
from napari_wsi_mil.slide import open_slide

README_SIZE = 1440, 900
README_QUALITY = 88


def truth_of(slide: Path) -> Path | None:
    """Return the outlines that belong to a slide, None where there are none."""
    name = f"{slide.stem}.geojson"
    return next((p for p in (slide.with_name(name), slide.parent.parent / "truth" / name) if p.is_file()), None)


def draw(path: Path, out: Path, *, size: tuple[int, int] | None = None) -> None:
    """Write both pictures of a slide; where the run is refused, the window says why and there is no heatmap."""
    window = windows.open_window([path])
    if size:
        window.viewer.window.resize(*size)
        windows.wait_until(lambda: False, windows.REST_S)
        window.viewer.reset_view()
    window.bring_forward(window.attention)
    try:
        demo.run_and_wait(window)
        layer = window.attention.result.layer
        truth = truth_of(path)
        outlines = read_geojson(truth) if truth else ()
        result = layer.metadata["wsi_result"]
        with open_slide(path) as slide:
            overlay_png(slide, result, out / f"{path.stem}_heatmap.png", truth=outlines)
        answer = ", ".join(f"{n} {p:.3f}" for n, p in zip(result.class_names, result.probabilities, strict=True))
        print(f"{path.name}: {answer}; {len(result.grid)} tiles; truth {truth or 'unknown'}", flush=True)
    except WsiMilError as error:
        print(f"{path.name}: no run: {error}", flush=True)
    windows.save_picture(window.viewer, out / f"{path.stem}_window.png")
    window.viewer.close()


def settle(path: Path, mpp: float) -> None:
    """Keep the pixel size for slides that have none."""
    with open_slide(path) as slide:
        if slide.mpp is None:
            slide.remember_mpp((mpp, mpp))


def draw_readme(out: Path) -> None:
    """Write window.jpg and heatmap.jpg of the sample slide, small enough for a repository."""
    with tempfile.TemporaryDirectory() as name:
        sample = sample_path()
        draw(sample, Path(name), size=README_SIZE)
        out.mkdir(parents=True, exist_ok=True)
        for part in ("window", "heatmap"):
            path = out / f"{part}.jpg"
            picture = Image.open(Path(name) / f"{sample.stem}_{part}.png").convert("RGB")
            picture.save(path, quality=README_QUALITY, optimize=True, progressive=True)
            print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slides", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, default=Path("pictures"))
    parser.add_argument("--mpp", type=float, help="um/px of slides that name none")
    parser.add_argument("--readme", action="store_true", help="draw docs/images from the sample slide")
    asked = parser.parse_args()
    missing = [str(p) for p in asked.slides if not p.exists()]
    if missing or not (asked.slides or asked.readme):
        sys.stderr.write(f"no such slide: {', '.join(missing)}\n" if missing else 'name slides: SLIDES="a.svs b.svs"\n')
        return 2
    if asked.readme:
        draw_readme(Path(__file__).resolve().parent.parent / "docs" / "images")
    asked.out.mkdir(exist_ok=True)
    # The answers given here are for these pictures, not for the person's own settings.
    with tempfile.TemporaryDirectory() as settings:
        os.environ["NAPARI_WSI_MIL_CONFIG"] = settings
        for path in asked.slides:
            if asked.mpp:
                settle(path, asked.mpp)
            draw(path, asked.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
