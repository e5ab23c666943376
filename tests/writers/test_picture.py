"""The picture shows the right pixels, the right way round, and all of the words."""

from __future__ import annotations

import numpy as np
import pytest

from osteoscribe.core.geometry import Grid
from osteoscribe.writers.lettering import REPLACEMENT, drawable, font, shorten, wrap
from osteoscribe.writers.picture import BAND, Panel, render
from osteoscribe.writers.view import Edges, View, edges_of

AXIAL = Edges(left="R", right="L", top="A", bottom="P")
PHRASE = "5 mm sclerotic focus, likely bone island, no further imaging recommended"


def panel(
    *, phrase: str = PHRASE, spacing: tuple[float, float] = (0.7, 0.7), label: str = "Lesion 1"
) -> Panel:
    slice_hu = np.full((256, 200), 40.0)
    slice_hu[100:107, 50:57] = 1200.0
    square = np.array([(99.5, 49.5), (99.5, 56.5), (106.5, 56.5), (106.5, 49.5)])
    return Panel(
        slice_hu=slice_hu,
        spacing_mm=spacing,
        edges=AXIAL,
        title=label,
        place="left ilium; series 2, image 15",
        phrase=phrase,
        details=("Long x short axis  4.9 x 4.9 mm",),
        outline_rc=square,
        long_axis_rc=square[[0, 2]],
        short_axis_rc=square[[1, 3]],
    )


@pytest.mark.parametrize("spacing", [(0.7, 0.7), (0.5, 1.0)])
def test_pixels_and_lines_lie_on_the_same_place(spacing: tuple[float, float]) -> None:
    shown = panel(spacing=spacing)
    view = View(centre_rc=(103.0, 53.0), pixels_per_mm=20.0, spacing_mm=spacing, size_px=(400, 300))
    bright = np.asarray(view.picture(shown.slice_hu).convert("L")) > 140
    rows, columns = np.nonzero(bright)
    assert shown.outline_rc is not None
    corners = np.array(view.to_view(shown.outline_rc))
    assert columns.min() == pytest.approx(corners[:, 0].min(), abs=4)
    assert columns.max() + 1 == pytest.approx(corners[:, 0].max(), abs=4)
    assert rows.min() == pytest.approx(corners[:, 1].min(), abs=4)
    assert rows.max() + 1 == pytest.approx(corners[:, 1].max(), abs=4)


def test_lengths_are_true_in_both_directions() -> None:
    view = View(centre_rc=(0.0, 0.0), pixels_per_mm=10.0, spacing_mm=(0.5, 2.0), size_px=(100, 100))
    (x0, y0), (x1, y1) = view.to_view([(0, 0), (4, 1)])
    assert (x1 - x0, y1 - y0) == pytest.approx((20.0, 20.0))


def test_outside_of_the_slice_is_black() -> None:
    view = View(centre_rc=(0.0, 0.0), pixels_per_mm=10.0, spacing_mm=(1.0, 1.0), size_px=(100, 100))
    grey = np.asarray(view.picture(np.full((3, 3), 400.0)).convert("L"))
    assert grey[:40, :].max() == 0
    assert grey[60, 60] == pytest.approx(128, abs=2)


def test_one_lesion_has_its_outline_in_the_middle_of_the_close_view() -> None:
    picture = np.asarray(render([panel()])).astype(int)
    height, width, _ = picture.shape
    assert min(height, width) >= 1024
    close = picture[78:998, 28:948]
    red, green, blue = close[..., 0], close[..., 1], close[..., 2]
    outline = (red > 200) & (green > 140) & (green < 215) & (blue < 110)
    rows, columns = np.nonzero(outline)
    assert (rows.min() + rows.max()) / 2 == pytest.approx(460, abs=3)
    assert (columns.min() + columns.max()) / 2 == pytest.approx(460, abs=3)
    assert columns.max() - columns.min() == pytest.approx(7 * 0.7 * 920 / 44, abs=6)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_several_lesions_make_a_sheet(count: int) -> None:
    picture = render([panel(label=f"Lesion {i}") for i in range(count)])
    assert min(picture.size) >= 1024


def test_a_sentence_that_all_lesions_share_stands_once_in_a_band_below_them() -> None:
    shared = np.asarray(render([panel(label=f"Lesion {i}") for i in range(4)]))
    own = np.asarray(render([panel(label=f"Lesion {i}", phrase=f"{PHRASE} {i}") for i in range(4)]))
    assert (band_rows(shared) > 0, band_rows(own)) == (True, 0)
    assert shared.shape[0] < own.shape[0], "less paper than the sentence under each"


def band_rows(picture: np.ndarray) -> int:
    return int((picture[:, 2] == BAND).all(axis=1).sum())


def test_the_same_panel_gives_the_same_picture() -> None:
    assert render([panel()]).tobytes() == render([panel()]).tobytes()


def test_a_longer_phrase_gets_more_room_and_changes_the_picture() -> None:
    short, long = render([panel()]), render([panel(phrase=" ".join([PHRASE] * 5))])
    assert long.height > short.height
    assert long.width == short.width


def test_a_mark_without_outline_still_gives_a_picture() -> None:
    bare = Panel(
        slice_hu=np.zeros((64, 64)), spacing_mm=(1.0, 1.0), edges=AXIAL, title="", place="", phrase=""
    )
    assert min(render([bare]).size) >= 1024


def test_no_panel_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        render([])


def test_lines_fit_and_lose_no_word() -> None:
    typeface = font(30)
    text = "Otherwise this suggestion does not apply. " * 4 + "W" * 200
    lines = wrap(text, typeface, 400)
    assert all(typeface.getlength(line) <= 400 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_a_text_too_long_is_cut_with_a_sign() -> None:
    assert shorten("left ilium; series 2", font(20), 500) == "left ilium; series 2"
    cut = shorten("left ilium " * 40, font(20), 200)
    assert cut.endswith("…")
    assert font(20).getlength(cut) <= 200


@pytest.mark.parametrize("text", ["Größe, Öffnung", "λ μ Ω", "Кость", "Łódź čšž", "5 × 4 mm³ ± 2 ≤ 6"])
def test_european_scripts_are_drawn(text: str) -> None:
    assert drawable(text) == text


def test_what_the_font_has_not_is_shown_as_a_box() -> None:
    assert drawable("骨島 1\n2") == f"{REPLACEMENT}{REPLACEMENT} 1 2"


@pytest.mark.parametrize(
    ("column_step", "row_step", "expected"),
    [
        ((1, 0, 0), (0, 1, 0), Edges(left="R", right="L", top="A", bottom="P")),
        ((-1, 0, 0), (0, 1, 0), Edges(left="L", right="R", top="A", bottom="P")),
        ((0, 1, 0), (0, 0, -1), Edges(left="A", right="P", top="H", bottom="F")),
        ((0.8, 0.6, 0), (-0.6, 0.8, 0), Edges(left="RA", right="LP", top="AL", bottom="PR")),
    ],
)
def test_orientation_letters(
    column_step: tuple[float, ...], row_step: tuple[float, ...], expected: Edges
) -> None:
    grid = Grid(
        shape=(1, 8, 8),
        origins_lps_mm=np.zeros((1, 3)),
        row_step_lps_mm=np.array(row_step),
        column_step_lps_mm=np.array(column_step),
        slice_step_lps_mm=np.cross(column_step, row_step),
    )
    assert edges_of(grid) == expected
