"""`python -m napari_wsi_mil`: the same as the command napari-wsi-mil."""

from __future__ import annotations

from napari_wsi_mil.cli import main

if __name__ == "__main__":
    main()
