"""Pages and films of zoom runs: what is where on them, and that nothing half-written stays."""

from __future__ import annotations

import importlib.util
import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_wsi_mil.errors import BadRequest, SlideReadError, StoreError
from napari_wsi_mil.interop import film as films
from napari_wsi_mil.interop.drawing import Labels, font, length_text, nice_length, shortened, wrapped
from napari_wsi_mil.interop.film import FilmPlan, write_film
from napari_wsi_mil.interop.film_frames import Painter, picture_shape
from napari_wsi_mil.interop.flight import Camera, camera_at, eased, flight, tour
from napari_wsi_mil.interop.trajectory_figure import MAP_PX, reading_text, write_figure
from napari_wsi_mil.interop.trajectory_map import node_frame, whole_frame
from napari_wsi_mil.results.trajectory_style import contribution_text, depth_colour, depth_name, magnification_text
from napari_wsi_mil.slide import Box
from napari_wsi_mil.ticks import Cancelled

QUICK = FilmPlan(fly_s=0.5, stay_s=0.2, fps=8, size_px=(320, 400))


def _zoom_results():
    spec = importlib.util.spec_from_file_location("zoom_results", Path(__file__).parent.parent / "zoom_results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RESULTS = _zoom_results()
made = RESULTS.trajectory


@pytest.fixture
def slide(array_slide):
    """A slide of 1024 x 1536 px and two levels, green at the left and red at the right."""
    pixels = np.empty((1024, 1536, 3), np.uint8)
    pixels[:, :768], pixels[:, 768:] = (20, 160, 60), (190, 30, 40)
    return array_slide([pixels, pixels[::4, ::4]], fingerprint="f" * 32)


def share_of(picture: Image.Image, colour: tuple[int, int, int]) -> float:
    return float((np.abs(np.asarray(picture).astype(int) - colour).max(-1) <= 2).mean())


# -- words and numbers ----------------------------------------------------------------------------
def test_nice_lengths():
    assert [nice_length(v) for v in (1, 1.9, 2, 49, 50, 99, 1234, 0.7)] == [1, 1, 2, 20, 50, 50, 1000, 0.5]
    assert [length_text(v) for v in (0.5, 50, 1000, 20_000)] == ["0.5 µm", "50 µm", "1 mm", "20 mm"]


def test_texts_fit():
    face = font(20)
    long = "a very long name of a slide with_everything_in_it.svs"
    short = shortened(long, face, 200)
    assert face.getlength(short) <= 200
    assert short.startswith("a very")
    assert short.endswith(".svs")
    assert shortened("short", face, 200) == "short"
    lines = wrapped(long, face, 200)
    assert " ".join(lines).startswith("a very long name")
    assert all(face.getlength(line) <= 200 for line in lines)


def test_labels_never_overlap_and_stay_inside():
    picture = Image.new("RGB", (400, 300))
    labels = Labels(picture)
    added = [labels.add(f"I_1{k}", (100 + k, 100 + k, 200, 200), (9, 9, 9), size=16) for k in range(40)]
    assert 3 <= sum(added) < 40
    for a, b in itertools.combinations(labels.taken, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    assert all(x0 >= 0 and y0 >= 0 and x1 <= 400 and y1 <= 300 for x0, y0, x1, y1 in labels.taken)


def test_names_of_depths_and_magnifications():
    result = made()
    assert [depth_name(result, d) for d in range(4)] == [
        "Whole slide", "Layer 1", "Layer 2", "Layer 3 (final views)",
    ]  # fmt: skip
    assert magnification_text(result, 0) == "0.36×"
    assert magnification_text(result, 10) == "12×"  # 768 px of 0.25 um in 224 px: 0.857 um/px
    assert magnification_text(replace(result, slide_mpp_yx=None), 1) == "4.0× root"
    assert [contribution_text(v) for v in (0.421, -1.3, 0, 0.0023, -3e-5)] == [
        "+0.42", "−1.30", "+0.00", "+0.002", "−3e−05",
    ]  # fmt: skip
    assert "28 views (10 of 56 px and 18 of 224 px) from 1.3 million pixels" in reading_text(result)


# -- where the camera is --------------------------------------------------------------------------
def test_frames_of_the_map():
    result = made((2,))  # root 6144 px around (2048, 3072), slide 4096 high; a box from y -256 to 4352
    frame = whole_frame(result, (1000, 1000))
    margin = 0.03 * 6144
    assert frame.yx0 == pytest.approx((-256 - margin, -margin))
    assert frame.downsample == pytest.approx((6144 + 2 * margin) / 1000)
    assert frame.size_px == (math.floor((4608 + 2 * margin) / frame.downsample), 1000)
    near = node_frame(result, 1, 318)
    left, top, right, bottom = near.corners(result.nodes[1].corner_yx0, result.nodes[1].side_px0)
    assert (left, top) == pytest.approx((right - (right - left), left))
    assert right - left == pytest.approx(318 / 1.12)
    assert bottom - top == pytest.approx(318 / 1.12)


def test_flights_begin_end_and_go_out_between():
    a, b = Camera(100, 100, 50), Camera(100, 1100, 20)
    way = flight(a, b, [0, 0.25, 0.5, 0.75, 1])
    assert way[0] == pytest.approx(a)
    assert way[-1] == pytest.approx(b)
    assert [one.y for one in way] == pytest.approx([100] * 5)
    assert [one.x for one in way] == sorted(one.x for one in way)
    assert max(one.height for one in way) > 300
    still = flight(a, Camera(100, 100, 200), [0.5, 1])
    assert np.array(still) == pytest.approx(np.array([(100, 100, 100), (100, 100, 200)]))
    assert eased(4) == pytest.approx([0.1464466, 0.5, 0.8535534, 1])


def test_cameras_show_what_they_stay_at():
    result = made()
    shape = (300, 400)
    whole = camera_at(result, 0, shape_yx=shape)
    assert (whole.y, whole.x) == (2048, 3072)
    assert whole.height == pytest.approx(6144 * 300 / 400 * 1.06)  # the slide's width decides
    node = result.nodes[4]
    aside = camera_at(result, 4, shape_yx=shape, aside=0.1)
    assert aside.height == pytest.approx(1.3 * node.side_px0)
    assert (aside.y, aside.x) == pytest.approx((node.centre_yx0[0], node.centre_yx0[1] + 0.1 * aside.height * 4 / 3))


def test_tours_follow_what_matters():
    result = made()  # contributions grow with the node's number
    names = [result.nodes[i].name for i in tour(result)]
    assert names == [
        "I_1", "I_11", "I_112", "I_1123", "I_12", "I_122", "I_1223", "I_13", "I_132", "I_1323", "I_1",
    ]  # fmt: skip
    turned = replace(result, contributions=-result.contributions)
    assert tour(turned) == tour(result)


# -- pictures -------------------------------------------------------------------------------------
@pytest.mark.parametrize("patches", [(2,), (2, 2), (3, 2, 3), (3, 2, 3, 2)])
def test_pages_hold_every_view_once(slide, tmp_path, patches):
    result = made(patches, slide=slide)
    path = write_figure(slide, result, tmp_path / "page.png")
    with Image.open(path) as opened:
        page = opened.convert("RGB")
    tree = page.crop((MAP_PX + 60, 0, page.width, page.height))
    packed = np.asarray(tree).astype(np.int64) @ (65536, 256, 1)
    count = dict(zip(*(v.tolist() for v in np.unique(packed, return_counts=True)), strict=True))
    areas = [count.get(int(np.dot(RESULTS.colour(i), (65536, 256, 1))), 0) for i in range(len(result.nodes))]
    sides = [math.sqrt(area / (1 - 1 / 64)) for area in areas]  # a mark covers the eighth of each side
    inner = 148 if len(result.nodes) < 40 else 110
    final = 190 if len(result.nodes) < 40 else 110
    for node, side in zip(result.nodes, sides, strict=True):
        assert side == pytest.approx(final if node.depth == result.depth else inner, rel=0.06)
    for depth in range(1, result.depth + 1):
        assert share_of(tree, depth_colour(depth)) > 0.0005
    assert share_of(page.crop((0, 128, MAP_PX, 900)), (20, 160, 60)) > 0.1


def test_pages_without_views_or_pixel_size(slide, tmp_path):
    result = replace(made((2, 2), slide=slide), views=(), slide_mpp_yx=None)
    with Image.open(write_figure(slide, result, tmp_path / "page.png")) as page:
        assert page.width > MAP_PX
    assert [p.name for p in tmp_path.iterdir()] == ["page.png"]


def test_the_picture_lies_under_the_boxes(slide):
    result = made((2,), slide=slide)  # I_11 around (64, 320), 384 px wide: in the green half; I_12 in the red one
    painter = Painter(slide, result, (320, 400))
    for index, colour in ((1, (20, 160, 60)), (2, (190, 30, 40))):
        camera = camera_at(result, index, shape_yx=picture_shape((320, 400)))
        sheet = painter.paint(camera, index, stays=True)
        assert sheet.size == (400, 320)
        y, x = picture_shape((320, 400))[0] // 2 + 20, 190
        assert np.abs(np.subtract(sheet.getpixel((x, y)), colour)).max() <= 2
        side = 384 / camera.height * picture_shape((320, 400))[0]
        edge = sheet.getpixel((round(200 - side / 2), y + 31))
        assert np.abs(np.subtract(edge, depth_colour(1))).max() <= 2


def test_gif(slide, tmp_path):
    result, ticks = made((2, 2), slide=slide), []
    path = write_film(
        slide, result, tmp_path / "film.gif", plan=QUICK, tick=lambda done, total: ticks.append((done, total))
    )
    # stops I_1, I_11, I_112, I_12, I_122, I_1; 3 pictures between two
    assert ticks[0] == (0, 21)
    assert ticks[-1] == (21, 21)
    with Image.open(path) as film:
        assert (film.size, film.format) == ((400, 320), "GIF")
        assert film.n_frames == 21
        durations = []
        for k in range(film.n_frames):
            film.seek(k)
            durations.append(film.info["duration"])
    assert durations[:5] == [200, 120, 120, 120, 200]
    assert durations[-1] == 400
    assert [p.name for p in tmp_path.iterdir()] == ["film.gif"]


def test_mp4(slide, tmp_path):
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path = write_film(slide, made((2,), slide=slide), tmp_path / "film.mp4", plan=QUICK)
    # stops I_1, I_11, I_12, I_1: 3 flights of 3 pictures, stays of 2, the last of 3
    count, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert count == 9 + 2 + 2 + 2 + 3
    assert seconds == pytest.approx(18 / 8, abs=0.02)
    assert [p.name for p in tmp_path.iterdir()] == ["film.mp4"]


def test_films_of_chosen_stops(slide, tmp_path):
    result = made((2, 2), slide=slide)
    with Image.open(write_film(slide, result, tmp_path / "a.gif", plan=replace(QUICK, stops=(4,)))) as film:
        assert film.n_frames == 1
    with pytest.raises(BadRequest, match="nodes 0 to 6"):
        write_film(slide, result, tmp_path / "b.gif", plan=replace(QUICK, stops=(7,)))


def test_flights_over_slides_without_levels_read_the_whole_once(array_slide, monkeypatch):
    slide = array_slide(np.full((1024, 1536, 3), (20, 160, 60), np.uint8), fingerprint="f" * 32)
    result = made((2,), slide=slide)
    monkeypatch.setattr("napari_wsi_mil.interop.film_frames.CHEAP_PIXELS", 1000)
    monkeypatch.setattr("napari_wsi_mil.interop.film_frames.BASE_PX", 512)
    painter = Painter(slide, result, (320, 400))
    reads = []
    real = painter._read
    monkeypatch.setattr(painter, "_read", lambda frame: reads.append(frame) or real(frame))
    for camera in flight(
        camera_at(result, 0, shape_yx=(300, 400)), camera_at(result, 1, shape_yx=(300, 400)), eased(5)
    ):
        sheet = painter.paint(camera, 1, stays=False)
        assert share_of(sheet, (20, 160, 60)) > 0.2
    assert reads == []
    painter.paint(camera, 1, stays=True)
    assert len(reads) == 1


def test_stopping_and_failing_leave_nothing(slide, array_slide, tmp_path):
    def stop(done, total):
        if done == 5:
            raise Cancelled

    result = made((2,), slide=slide)
    names = ["f.gif"] + ["f.mp4"] * films.mp4_here()
    for name in names:
        with pytest.raises(Cancelled):
            write_film(slide, result, tmp_path / name, plan=QUICK, tick=stop)
    pixels = np.full((1024, 1536, 3), 200, np.uint8)
    broken = array_slide(pixels, fingerprint="f" * 32, broken=Box(0, 0, 200, 200))
    for write in (write_figure, write_film):
        with pytest.raises(SlideReadError):
            write(broken, result, tmp_path / ("x.gif" if write is write_film else "x.png"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match="could not be written"):
        write_film(slide, result, tmp_path / "no" / "f.gif", plan=QUICK)


def test_refuses_other_films(slide, tmp_path, monkeypatch):
    with pytest.raises(BadRequest, match=r"ends in \.gif or \.mp4"):
        write_film(slide, made((2,), slide=slide), tmp_path / "film.avi")
    monkeypatch.setattr(films, "mp4_here", lambda: False)
    with pytest.raises(BadRequest, match=r"napari-wsi-mil\[film\]"):
        write_film(slide, made((2,), slide=slide), tmp_path / "film.mp4")
    for wrong in ({"fps": 0}, {"size_px": (321, 400)}, {"size_px": (320, 40_000)}, {"fly_s": 0}):
        with pytest.raises(BadRequest, match="even sides"):
            FilmPlan(**wrong)
