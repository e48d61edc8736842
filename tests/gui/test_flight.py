"""The way of the camera: known lengths, even speed, exact ends."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("qtpy")

from napari_wsi_mil.gui.flight import RHO, Look, Path, eased, frame

NEAR, FAR = Look(0.0, 0.0, 10.0), Look(300.0, 400.0, 10.0)


def test_a_zoom_in_place_is_geometric() -> None:
    path = Path(Look(5.0, 7.0, 16.0), Look(5.0, 7.0, 1.0))
    assert path.length == pytest.approx(math.log(16) / RHO)
    assert path.at(0.5) == pytest.approx((5.0, 7.0, 4.0))


def test_the_ends_are_exact() -> None:
    path = Path(NEAR, FAR)
    assert path.at(0.0) == NEAR
    assert path.at(1.0) == FAR
    assert path.at(1 - 1e-9) == pytest.approx(FAR, rel=1e-5)
    assert path.at(1e-9) == pytest.approx(NEAR, abs=1e-4)


def test_a_far_way_goes_out_and_in_again() -> None:
    """For equal widths w and distance u: length 2/rho asinh(rho^2 u / 2w), widest in the middle."""
    path = Path(NEAR, FAR)
    reach = RHO**2 * 500 / (2 * 10)
    assert path.length == pytest.approx(2 / RHO * math.asinh(reach))
    middle = path.at(0.5)
    assert middle == pytest.approx((150.0, 200.0, 10 * math.cosh(math.asinh(reach))))


@pytest.mark.parametrize(
    "end", [Look(3.0, -4.0, 2.0), Look(800.0, 0.0, 0.5), Look(0.01, 0.0, 90.0), Look(40.0, 9.0, 300.0)]
)
def test_it_is_as_fast_all_along(end: Look) -> None:
    """The metric of van Wijk and Nuij: (rho du / w)^2 + (dw / (rho w))^2, in which the way is the shortest."""
    path = Path(Look(0.0, 0.0, 10.0), end)
    looks = np.array([path.at(share) for share in np.linspace(0, 1, 2001)])
    steps, widths = np.diff(looks, axis=0), (looks[1:, 2] + looks[:-1, 2]) / 2
    pan, zoom = np.hypot(steps[:, 0], steps[:, 1]) / widths, steps[:, 2] / widths
    gone = np.sqrt((RHO * pan) ** 2 + (zoom / RHO) ** 2)
    np.testing.assert_allclose(gone, path.length / 2000, rtol=1e-3)


def test_no_way_has_no_length() -> None:
    assert Path(NEAR, NEAR).length == 0.0
    assert Path(NEAR, NEAR).at(0.3) == NEAR


def test_easing_begins_and_ends_slowly() -> None:
    assert [eased(share) for share in (0.0, 0.25, 0.5, 1.0)] == [0.0, 0.15625, 0.5, 1.0]


def test_a_square_is_framed_by_the_shorter_side_of_the_canvas() -> None:
    square = np.array([(10.0, 20.0), (10.0, 40.0), (30.0, 40.0), (30.0, 20.0)])
    assert frame(square, (400, 800), share=0.5) == pytest.approx((20.0, 30.0, 40.0))
    wide = np.array([(0.0, 0.0), (0.0, 80.0), (10.0, 80.0), (10.0, 0.0)])
    assert frame(wide, (400, 800), share=0.5) == pytest.approx((5.0, 40.0, 80.0))
