"""Painted H&E slides of bowel wall, with or without a carcinoma, from a seed, with truth; no patient is shown."""

from napari_wsi_mil.procedural.cohort import render_cohort
from napari_wsi_mil.procedural.slide import render_slide
from napari_wsi_mil.procedural.truth import Truth

__all__ = ["Truth", "render_cohort", "render_slide"]
