"""A table of slides (CSV) -> where each lies and what the table says of it."""

from __future__ import annotations

import csv
import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from napari_wsi_mil.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

COLUMNS = ("slide", "path", "mpp", "patient", "label", "split")
ALIASES = {"slide_id": "slide", "wsi": "slide", "filename": "slide", "case_id": "patient"}
"""What tables of other programs call the same columns."""
DELIMITERS = ",;\t"
SHOWN = 3
"""Names listed in a sentence, at most."""


@dataclass(frozen=True)
class SlideRow:
    """One slide of a table; what the table leaves empty is None."""

    name: str
    """What the slide is called in results: the table's `slide`, without the file's suffix."""
    path: str
    """File, folder (OME-Zarr) or URL."""
    mpp: float | None = None
    """um per level-0 pixel, where the table corrects or supplies it."""
    patient: str | None = None
    label: str | None = None
    """As written: a class, or a number where a value is learned."""
    split: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    """All further columns, as they stand."""


def read_slide_table(
    table: Path | str, *, folders: Sequence[Path] = (), need: Sequence[str] = ()
) -> tuple[SlideRow, ...]:
    """Read a CSV table (comma, semicolon or tab) with the columns slide[, path, mpp, patient, label, split], in order.

    Slides without a `path` are looked for by name, with or without suffix, in `folders`, beside the table, and in the
    table's `slides` folder; a relative `path` starts at the table. slide_id, wsi and filename are read as slide,
    case_id as patient. Columns in `need` must be filled in every row.
    Raises BadRequest, in one sentence, for a table that cannot be read or has no rows, columns or values missing, a
    pixel size that is no number, slides listed twice, and slides that are not there or could be several files.
    """
    table = Path(table)
    rows = _rows(table, ("slide", *need) if "path" not in need else need)
    places = [*folders, table.parent, table.parent / "slides"]
    missing: list[str] = []
    found = []
    for number, row in enumerate(rows, 2):
        where = _located(row, table, places)
        if where is None:
            missing.append(row["slide"])
            continue
        found.append(_slide_row(row, where, f"{table}: row {number}"))
    if missing:
        message = (
            f"{table}: {len(missing)} of {len(rows)} slides were not found ({_some(missing)}); correct the names, or "
            "name their folder."
        )
        raise BadRequest(message)
    check_unlike(found, str(table))
    return tuple(found)


def slide_rows(paths: Iterable[str]) -> tuple[SlideRow, ...]:
    """Return rows for slides named one by one; raises BadRequest where two have one name."""
    rows = tuple(SlideRow(_bare(path), path) for path in paths)
    check_unlike(rows, "slides")
    return rows


def check_unlike(rows: Sequence[SlideRow], what: str) -> None:
    """Raise BadRequest if a name or a file comes twice: results would replace each other, labels contradict."""
    for values, word in (([r.name for r in rows], "name"), ([r.path for r in rows], "file")):
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            message = f"{what}: expected each slide once, got the {word} more than once for {_some(twice)}; keep one."
            raise BadRequest(message)


def _rows(table: Path, need: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows with columns under our names and values stripped."""
    try:
        # Spreadsheet programs put a byte-order mark first.
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{table}: cannot be read as a table of slides ({_why(error)}); expected a CSV file in UTF-8."
        raise BadRequest(message) from error
    lines = [line for line in text.splitlines() if line.strip()]
    mark = max(DELIMITERS, key=lines[0].count) if lines else ","
    try:
        cells = [[cell.strip() for cell in line] for line in csv.reader(lines, delimiter=mark, strict=True)]
    except csv.Error as error:
        message = f"{table}: cannot be read as a table of slides ({error}); expected a CSV file."
        raise BadRequest(message) from error
    names = (
        [ALIASES.get(cell.lower(), cell.lower() if cell.lower() in COLUMNS else cell) for cell in cells[0]]
        if cells
        else []
    )
    absent = [name for name in need if name not in names]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if absent or twice or len(cells) < 2:
        problem = f"without {' and '.join(absent)}" if absent else f"with {' and '.join(twice)} twice" if twice else ""
        message = (
            f"{table}: expected a table with the columns {', '.join(need)} and a row per slide, got "
            f"{f'columns {problem}' if problem else 'no rows'}; correct the table."
        )
        raise BadRequest(message)
    return [_whole(names, row, need, where=f"{table}: row {number}") for number, row in enumerate(cells[1:], 2)]


def _whole(names: Sequence[str], cells: Sequence[str], need: Sequence[str], *, where: str) -> dict[str, str]:
    if len(cells) != len(names):
        message = f"{where}: expected {len(names)} values, got {len(cells)}; correct the table."
        raise BadRequest(message)
    row = dict(zip(names, cells, strict=True))
    empty = [name for name in need if not row[name]]
    if empty:
        message = f"{where}: has no {' and no '.join(empty)}; fill it in or leave the row out."
        raise BadRequest(message)
    return row


def _located(row: Mapping[str, str], table: Path, places: Sequence[Path]) -> str | None:
    """Return the slide's file, folder or URL; None if it is nowhere."""
    given = row.get("path") or ("" if "://" not in row["slide"] else row["slide"])
    if "://" in given:
        return given
    if given:
        path = table.parent / Path(given).expanduser()
        return str(path) if path.exists() else None
    for folder in places:
        hits = _named(row["slide"], folder)
        if len(hits) > 1:
            message = (
                f"{table}: slide {row['slide']} could be {_some([h.name for h in hits])} in {folder}; "
                "give the whole file name."
            )
            raise BadRequest(message)
        if hits:
            return str(hits[0])
    return None


def _named(name: str, folder: Path) -> list[Path]:
    """Return what `folder` holds under this name: the file itself, else files and Zarr folders of that stem."""
    exact = folder / name
    if exact.is_file() or (exact.is_dir() and exact.suffix == ".zarr"):
        return [exact]
    if not folder.is_dir() or not name or "/" in name or "\\" in name:
        return []
    hits = [
        p for p in sorted(folder.iterdir()) if p.name.startswith(f"{name}.") and (p.is_file() or p.suffix == ".zarr")
    ]
    # Of "a.svs" and "a.b.svs" the first is meant by "a".
    return [p for p in hits if p.stem == name] or hits


def _slide_row(row: Mapping[str, str], path: str, where: str) -> SlideRow:
    mpp = None
    if row.get("mpp"):
        try:
            mpp = float(row["mpp"])
        except ValueError:
            mpp = math.nan
        if not 0.01 <= mpp <= 100:
            message = f"{where}: expected mpp in um/px from 0.01 to 100, got {row['mpp']!r}; correct it."
            raise BadRequest(message)
    slide = row["slide"]
    name = _bare(slide) if slide.endswith(PurePosixPath(path).suffix) or "/" in slide else slide
    extra = {key: value for key, value in row.items() if key and key not in COLUMNS}
    more = {key: row.get(key) or None for key in ("patient", "label", "split")}
    return SlideRow(name, path, mpp, **more, extra=extra)


def _bare(path: str) -> str:
    """Return the file name without folders, query and suffix."""
    plain = path.partition("?")[0] if "://" in path else path
    return PurePosixPath(plain.replace("\\", "/").rstrip("/")).stem


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _why(error: Exception) -> str:
    return (error.strerror or "unreadable").lower() if isinstance(error, OSError) else "not UTF-8 text"
