"""Displayed pyramid: planned levels, averaged blocks, dask slices; all against arrays computed at once."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wsi_mil.errors import SlideReadError
from napari_wsi_mil.slide.blocks import BlockCache
from napari_wsi_mil.slide.pyramid import BlockReader, plan_steps
from napari_wsi_mil.slide.reduce import halve
from napari_wsi_mil.slide.slide import Slide
from napari_wsi_mil.slide.source import PixelSource
from napari_wsi_mil.slide.spec import Box, Level, Plane, SourceMeta


class ArraySource(PixelSource):
    """Levels held in memory; counts reads and fails where told."""

    def __init__(
        self, levels: list[np.ndarray], *, tile=(64, 64), n_z: int = 1, n_t: int = 1, samples: int = 3
    ) -> None:
        shapes = [a.shape[-3:-1] if samples > 1 else a.shape[-2:] for a in levels]
        self._levels, self.reads, self.bad = levels, [], None
        self._lead = (n_t, n_z)
        h0, w0 = shapes[0]
        self.meta = SourceMeta(
            backend="array", vendor="test", dtype=str(levels[0].dtype), samples=samples, fingerprint="0" * 32, n_z=n_z, n_t=n_t,
            levels=tuple(Level((h, w), (h0 / h, w0 / w), tile) for h, w in shapes),
        )  # fmt: skip

    def read(self, level: int, box: Box, plane: Plane) -> np.ndarray:
        self.reads.append((level, box))
        if self.bad is not None and self.bad == (level, box.y, box.x):
            message = "array: tile broken; copy it again."
            raise SlideReadError(message)
        a = self._levels[level]
        if self._lead != (1, 1):
            a = a[plane.t, plane.z]
        return a[box.y : box.y + box.h, box.x : box.x + box.w].copy()

    def close(self) -> None:
        self.reads.append("closed")


def image(h: int, w: int, *lead: int, samples: int = 3, dtype: str = "uint8") -> np.ndarray:
    rng = np.random.default_rng(h * w)
    return rng.integers(0, 255, (*lead, h, w, samples) if samples > 1 else (*lead, h, w)).astype(dtype)


def test_four_fold_pyramid_gets_the_levels_between_and_small_coarse_ones():
    big = Level((40000, 30000), (1.0, 1.0), (256, 256)), Level((10000, 7500), (4.0, 4.0), (256, 256))
    source = ArraySource([image(8, 8)])
    source.meta = SourceMeta(backend="a", vendor="t", levels=big, dtype="uint8", samples=3, fingerprint="")
    steps = plan_steps(source)
    assert [s.shape_yx for s in steps] == [
        (40000, 30000), (20000, 15000), (10000, 7500), (5000, 3750), (2500, 1875), (1250, 938),
    ]  # fmt: skip
    assert [s.native for s in steps] == [0, None, 1, None, None, None]
    assert steps[-1].downsample_yx == (32.0, 30000 / 938)
    assert {s.block_yx for s in steps} == {(256, 256)}
    assert {s.chunk_yx for s in steps} == {(896, 896)}
    assert [s.native for s in plan_steps(source, between=False)] == [0, 1]


def test_two_and_two_and_a_half_fold_pyramids_stay_as_they_are():
    for factor in (2, 2.5):
        levels = [image(1000, 900), image(int(1000 / factor), int(900 / factor))]
        assert [s.native for s in plan_steps(ArraySource(levels))] == [0, 1]


@pytest.mark.parametrize("tile", [(1, 5000), (8, 3000), (240, 240), (512, 512), (4096, 4096), (48, 16)])
def test_blocks_are_even_whole_tiles(tile):
    block = plan_steps(ArraySource([image(64, 64)], tile=tile))[0].block_yx
    assert [b % t for b, t in zip(block, tile, strict=True)] == [0, 0]
    assert [b % 2 for b in block] == [0, 0]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(6, 8), (5, 7), (1, 1)])
def test_halve_is_the_mean_of_four(shape, dtype):
    a = image(*shape, dtype=dtype)
    a[0, 0] = 255 if dtype == "uint8" else 65535
    got = halve(a)
    assert got.dtype == a.dtype
    if dtype == "float32":
        padded = np.pad(a, ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0)), mode="edge")
        np.testing.assert_allclose(got[-1, -1], padded[-2:, -2:].mean((0, 1)), rtol=1e-6)
    else:
        np.testing.assert_array_equal(got, _exact(a))


def _exact(a: np.ndarray) -> np.ndarray:
    wide = a.astype(np.int64)
    wide = np.concatenate([wide, wide[-1:]], 0) if wide.shape[0] % 2 else wide
    wide = np.concatenate([wide, wide[:, -1:]], 1) if wide.shape[1] % 2 else wide
    return ((wide[::2, ::2] + wide[1::2, ::2] + wide[::2, 1::2] + wide[1::2, 1::2] + 2) // 4).astype(a.dtype)


@pytest.mark.parametrize("shape", [(2101, 2203), (2304, 2049)])
def test_averaged_levels_equal_averaging_the_whole_image(shape):
    source = ArraySource([image(*shape)], tile=(240, 256))
    slide = Slide(source, path="x", cache=BlockCache(2**28))
    want = source._levels[0]
    for level in slide.pyramid():
        np.testing.assert_array_equal(np.asarray(level), want)
        want = _exact(want)


@pytest.mark.parametrize("index", [
    np.s_[0:10, 0:10], np.s_[100:400, 250:260], np.s_[-5:, -7:], np.s_[7], np.s_[:, 5], np.s_[10:20, 10:20, 1],
    np.s_[0:0, 0:10], np.s_[3:90:4, 2:100:3],
])  # fmt: skip
def test_dask_slices_equal_numpy(index):
    source = ArraySource([image(500, 700)])
    array = Slide(source, path="x", cache=BlockCache(2**26)).pyramid()[0]
    want = source._levels[0][index]
    np.testing.assert_array_equal(np.asarray(array[index]), want)
    np.testing.assert_array_equal(array[index].compute(), want)
    np.testing.assert_array_equal((array[index] + 1).compute(), want + 1)
    assert array[index].shape == want.shape
    assert np.asarray(array[index], dtype=float).dtype == float


def test_writing_into_a_copy_leaves_the_slide_as_it_is():
    source = ArraySource([image(300, 300)])
    array = Slide(source, path="x", cache=BlockCache(2**26)).pyramid()[0]
    copied = np.array(array[0:10, 0:10], copy=True)
    copied[:] = 0
    np.testing.assert_array_equal(np.asarray(array[0:10, 0:10]), source._levels[0][:10, :10])


def test_fancy_index_equals_numpy():
    source = ArraySource([image(500, 700)])
    array = Slide(source, path="x", cache=BlockCache(2**26)).pyramid()[0]
    np.testing.assert_array_equal(np.asarray(array[[3, 200, 77]]), source._levels[0][[3, 200, 77]])


def test_z_and_t_are_leading_axes():
    source = ArraySource([image(300, 200, 2, 3, samples=1)], n_t=2, n_z=3, samples=1)
    array = Slide(source, path="x", cache=BlockCache(2**26)).pyramid()[0]
    assert array.shape == (2, 3, 300, 200)
    np.testing.assert_array_equal(np.asarray(array[1, 2]), source._levels[0][1, 2])
    np.testing.assert_array_equal(np.asarray(array[:, 1, 10:20, 5:9]), source._levels[0][:, 1, 10:20, 5:9])


def test_a_slice_reads_only_the_tiles_it_touches_and_only_once():
    source = ArraySource([image(2048, 2048)], tile=(256, 256))
    array = Slide(source, path="x", cache=BlockCache(2**26)).pyramid()[0]
    np.asarray(array[300:500, 300:600])
    assert sorted(box for _, box in source.reads) == [Box(256, 256, 256, 256), Box(256, 512, 256, 256)]
    np.asarray(array[300:500, 300:600])
    assert len(source.reads) == 2


def test_a_read_error_reaches_the_caller_and_is_not_cached():
    source = ArraySource([image(2048, 2048)], tile=(256, 256))
    array = Slide(source, path="x", cache=BlockCache(2**26)).pyramid()[0]
    source.bad = (0, 256, 512)
    with pytest.raises(SlideReadError, match="tile broken"):
        np.asarray(array[0:1000, 0:1000])
    source.bad = None
    np.testing.assert_array_equal(np.asarray(array[0:1000, 0:1000]), source._levels[0][:1000, :1000])


def test_closing_frees_the_blocks_and_refuses_reads():
    source, cache = ArraySource([image(1000, 1000)]), BlockCache(2**26)
    slide = Slide(source, path="x", cache=cache)
    np.asarray(slide.pyramid()[0])
    assert cache.bytes == 1000 * 1000 * 3
    slide.close()
    slide.close()
    assert cache.bytes == 0
    with pytest.raises(Exception, match="closed"):
        slide.read_level(0, Box(0, 0, 5, 5))


def test_colour_variants_do_not_mix():
    source, cache = ArraySource([image(300, 300)]), BlockCache(2**26)
    steps = plan_steps(source)
    raw = BlockReader(source, steps, cache, owner=1)
    inverted = BlockReader(source, steps, cache, owner=1, variant="inv", colour=lambda a: 255 - a)
    box = Box(0, 0, 300, 300)
    np.testing.assert_array_equal(255 - raw.read(0, box), inverted.read(0, box))


def test_reading_regions_leaves_the_display_cache_alone():
    source = ArraySource([image(1000, 1000)])
    slide = Slide(source, path="x")
    np.asarray(slide.pyramid()[0][:256, :256])
    shown = slide._cache.bytes
    slide.read_level(0, Box(0, 0, 1000, 1000))
    assert slide._cache.bytes == shown
    assert slide._run_cache.bytes >= 1000 * 1000 * 3
    slide.close()
    assert not slide._run_cache.holds(slide._owner, ("raw", 0, 0, Plane(), 0, 0))
