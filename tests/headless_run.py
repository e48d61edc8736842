"""Run by test_headless.py in its own process: slide -> tissue -> grid -> embed -> layers, napari and Qt blocked."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

BLOCKED = {"napari", "qtpy", "magicgui", "superqt", "PyQt5", "PyQt6", "PySide2", "PySide6", "vispy"}


class Wall(MetaPathFinder):
    """Refuses to import what only the window may need."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in BLOCKED:
            message = f"{fullname} is blocked: only napari_wsi_mil.gui may import it"
            raise ImportError(message)
        return None


sys.meta_path.insert(0, Wall())


def main(slide_path: str, folder: str) -> None:
    """Go the whole way with small models; asserts are for this script's caller, which sees stderr."""
    sys.path.insert(0, str(Path(__file__).parent))
    from small_models import write_bundle

    from napari_wsi_mil.interop.rasters import overlay_png, tiles_csv
    from napari_wsi_mil.layers import attention_layer, slide_layers, tissue_layer
    from napari_wsi_mil.results import Attention
    from napari_wsi_mil.runs.classify import classify
    from napari_wsi_mil.runs.embed import embed
    from napari_wsi_mil.slide import open_slide
    from napari_wsi_mil.tiles import cover, tissue_mask

    out = Path(folder)
    encoder, head = write_bundle(out)
    with open_slide(slide_path) as slide:
        mask = tissue_mask(slide)
        grid = cover(slide, mpp=head.mpp, tile_px=head.tile_px, mask=mask)
        assert len(grid) == 28, len(grid)
        bag = embed(slide, grid, encoder, device="cpu", store=None)
        assert bag.features.shape == (28, 16), bag.features.shape
        result = classify(slide, bag, head, device="cpu")
        overlay_png(slide, result, out / "heat.png")
        tiles_csv(result, out / "tiles.csv")
        loaded = Attention.load(result.save(out / "result.npz"))
        assert loaded.probabilities.tolist() == result.probabilities.tolist()
        kinds = [kind for *_, kind in (*slide_layers(slide), tissue_layer(mask, slide), attention_layer(result))]
        assert kinds == ["image", "shapes", "image"], kinds
    loaded_modules = BLOCKED & set(sys.modules)
    assert not loaded_modules, loaded_modules
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
