"""What runs return: frozen values without torch, saved as one file each."""

from napari_wsi_mil.results.attention import ATTENTION, Attention, MapChoice, ScoreMap
from napari_wsi_mil.results.bag import FeatureBag, ModelRef
from napari_wsi_mil.results.objects import MaskObject, Measures, ObjectClass, SlideRef, measures
from napari_wsi_mil.results.prompts import SlidePrompt
from napari_wsi_mil.results.style import HeatStyle
from napari_wsi_mil.results.trajectory import ReadingCount, Trajectory, ZoomNode

__all__ = [
    "ATTENTION",
    "Attention",
    "FeatureBag",
    "HeatStyle",
    "MapChoice",
    "MaskObject",
    "Measures",
    "ModelRef",
    "ObjectClass",
    "ReadingCount",
    "ScoreMap",
    "SlidePrompt",
    "SlideRef",
    "Trajectory",
    "ZoomNode",
    "measures",
]
