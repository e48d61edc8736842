import pytest

from napari_wsi_mil.models.card import ModelCard


@pytest.fixture
def make_card():
    """Build a valid head card; keywords replace fields."""

    def make(**changes):
        values = {
            "name": "small",
            "kind": "head",
            "architecture": "abmil",
            "options": {"width": 8},
            "title": "Small head",
            "task": "tumour or not",
            "classes": ("no tumour", "tumour"),
            "n_features": 512,
            "tile_px": 112,
            "mpp": 1.0,
            "weights_file": "small.safetensors",
            "sha256": "0" * 64,
            "size_bytes": 10,
            "licence": "CC BY 4.0",
            "attribution": "made in a test",
            "data": "none",
            "split": "none",
            "metrics": {"protocol": "none", "auroc": 0.5},
            "command": "pytest",
            "seed": 0,
            "limits": "a test",
            "encoder": "wsi-mini",
            "encoder_sha256": "1" * 64,
        }
        return ModelCard(**(values | changes))

    return make
