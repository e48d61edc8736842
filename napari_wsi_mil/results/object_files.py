"""Objects on disk: one GeoJSON file that QuPath opens too, described in docs/objects.md, whole or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_wsi_mil.errors import BadRequest, StoreError
from napari_wsi_mil.results.atomic import written
from napari_wsi_mil.results.checked import listed, parsed
from napari_wsi_mil.results.object_book import ObjectBook
from napari_wsi_mil.results.object_foreign import foreign_objects
from napari_wsi_mil.results.object_json import (
    DAMAGE,
    MOST_OBJECTS,
    classes_json,
    classes_of,
    feature_of,
    object_of,
    refuse,
    slide_json,
    slide_of,
)
from napari_wsi_mil.results.objects import DEFAULT_CLASSES, MaskObject, ObjectClass, SlideRef, with_classes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_wsi_mil.slide import Slide

FORMAT, VERSION = "napari-wsi-mil objects", 1
MOST_BYTES = 512 * 2**20
Kind = Literal["annotation", "detection"]
"""What QuPath takes objects for: annotations can be edited there, detections are many."""


@dataclass(frozen=True)
class LoadedObjects:
    """What a file held."""

    objects: tuple[MaskObject, ...]
    classes: tuple[ObjectClass, ...]
    """In files of ours all of the session, else the default ones and those of the objects."""
    slide: SlideRef | None
    """Which slide they lie on; None where the file does not say."""
    notes: tuple[str, ...] = ()
    """Sentences on what was left out or repaired."""

    def doubts(self, slide: Slide) -> str:
        """Return in a sentence what speaks against showing them on this slide; '' where nothing does."""
        height, width = slide.shape0_yx
        if self.slide is not None and self.slide.fingerprint != slide.fingerprint:
            return (
                f"These objects were made on {self.slide.name:.100}, not on {slide.name}: they may lie elsewhere here."
            )
        boxes = [one.outline.bounds for one in self.objects]
        beyond = sum(y0 < -1 or x0 < -1 or y1 > height + 1 or x1 > width + 1 for y0, x0, y1, x1 in boxes)
        if beyond:
            return f"{beyond} of {len(boxes)} objects reach beyond {slide.name} of {height} x {width} px."
        return ""


def save_objects(
    path: Path | str,
    objects: ObjectBook | Iterable[MaskObject],
    *,
    slide: Slide | SlideRef | None = None,
    classes: Iterable[ObjectClass] | None = None,
    kind: Kind = "annotation",
) -> Path:
    """Write objects as GeoJSON, (x, y) level-0 pixels; a slide gives sizes in um. Raises StoreError.

    `classes` are the book's or the default ones where not given, with those of the objects added in grey.
    """
    rows = list(objects.objects.values() if isinstance(objects, ObjectBook) else objects)
    given = objects.classes if classes is None and isinstance(objects, ObjectBook) else classes
    kinds = with_classes(DEFAULT_CLASSES if given is None else given, (), rows)
    ref = slide if slide is None or isinstance(slide, SlideRef) else SlideRef.of(slide)
    head = {"type": "FeatureCollection", "format": FORMAT, "version": VERSION}
    head |= {"slide": slide_json(ref), "classes": classes_json(kinds)}
    colours = {one.name: one.colour for one in kinds}
    mpp_yx = None if ref is None else ref.mpp_yx
    with written(path) as partial, partial.open("w", encoding="utf-8") as stream:
        # one object on a line: a person can look into it, and a tool can compare two
        stream.write(_json(head)[:-1] + ', "features": [')
        for i, one in enumerate(sorted(rows, key=lambda row: row.number)):
            feature = feature_of(one, colours[one.class_name], mpp_yx=mpp_yx, kind=kind)
            stream.write((",\n" if i else "\n") + _json(feature))
        stream.write("\n]}\n")
    return Path(path)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def load_objects(path: Path | str, *, nuclei: bool = False) -> LoadedObjects:
    """Read what `save_objects` wrote, exactly, or the outlines of another program's GeoJSON, such as QuPath's.

    `nuclei`: of another program's cells the nucleus, not the whole cell. Raises StoreError in one sentence if the file
    is missing, damaged, too large, or holds something else.
    """
    content = _content(path)
    try:
        features = _features(content)
        if isinstance(content, dict) and "format" in content:
            return _ours(content, features)
        objects, kinds, notes = foreign_objects(features, nuclei=nuclei)
    except (*DAMAGE, BadRequest) as error:
        message = f"{path}: is no whole file of outlines ({error!s:.300}); expected GeoJSON of polygons, save it again."
        raise StoreError(message) from error
    if not objects:
        message = f"{path}: expected outlines of objects, got none among {len(features)} features; choose another file."
        raise StoreError(message)
    return LoadedObjects(tuple(objects), with_classes(DEFAULT_CLASSES, kinds, ()), None, tuple(notes))


def _content(path: Path | str) -> Any:
    try:
        with Path(path).open("rb") as stream:
            raw = stream.read(MOST_BYTES + 1)
    except OSError as error:
        message = f"{path}: cannot be read ({(error.strerror or str(error)).lower()}); expected GeoJSON of outlines."
        raise StoreError(message) from error
    try:
        if len(raw) > MOST_BYTES:
            refuse(f"larger than {MOST_BYTES} bytes")
        # QuPath writes NaN for measurements it could not make; what is taken over is looked at on its own
        return parsed(raw.decode("utf-8-sig"), constants=True)
    except ValueError as error:
        message = f"{path}: is no GeoJSON ({error!s:.200}); expected outlines as this program or QuPath saves them."
        raise StoreError(message) from error


def _features(content: Any) -> list[Any]:
    if isinstance(content, dict) and content.get("type") == "Feature":
        return [content]
    if isinstance(content, dict) and content.get("type") != "FeatureCollection":
        refuse(f"expected a FeatureCollection, got the type {content.get('type')!r:.40}")
    found = content.get("features") if isinstance(content, dict) else content
    return listed(found, "features", most=MOST_OBJECTS)


def _ours(content: Mapping[str, Any], features: list[Any]) -> LoadedObjects:
    version = content.get("version")
    if content["format"] != FORMAT or type(version) is not int or version != VERSION:
        refuse(f"expected the format {FORMAT!r} in version {VERSION}, got {content['format']!r:.40}, {version!r:.20}")
    objects = tuple(object_of(feature) for feature in features)
    if len({one.number for one in objects}) < len(objects):
        refuse("two objects have the same number")
    classes = with_classes(classes_of(content.get("classes")), (), objects)
    return LoadedObjects(objects, classes, slide_of(content.get("slide")))
