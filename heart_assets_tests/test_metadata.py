"""Pictures in metadata: always a file, and in Dagster's database only where that is allowed and small enough."""

import base64

import pytest

from heart_assets.metadata import LARGEST_PICTURE, picture

PNG, GIF = b"\x89PNG\r\n rest", b"GIF89a rest"


@pytest.mark.parametrize(("content", "kind"), [(PNG, "png"), (GIF, "gif")])
def test_a_picture_is_kept_and_shown(tmp_path, content, kind):
    shown = picture(content, tmp_path / "a" / "plot.x", single_people=False, allowed=False)
    assert shown.md_str == f"![plot](data:image/{kind};base64,{base64.b64encode(content).decode()})"
    assert (tmp_path / "a" / "plot.x").read_bytes() == content


@pytest.mark.parametrize("allowed", [True, False])
def test_single_people_are_shown_only_where_the_study_allows_it(tmp_path, allowed):
    shown = picture(PNG, tmp_path / "p.png", single_people=True, allowed=allowed)
    assert (tmp_path / "p.png").read_bytes() == PNG
    hidden = "a file under data_dir (privacy.pictures_of_single_people is off)"
    assert (shown.md_str.startswith("![p](data:image/png;base64,") if allowed else shown.text == hidden) is True


def test_a_large_picture_stays_a_file(tmp_path):
    shown = picture(PNG.ljust(LARGEST_PICTURE + 1), tmp_path / "p.png", single_people=False)
    assert shown.text == "a file under data_dir (too large for the event log)"
    assert (tmp_path / "p.png").stat().st_size == LARGEST_PICTURE + 1
