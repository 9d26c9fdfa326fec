from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from litevl.search.contact_sheet import check_picture, contact_sheet
from litevl.search.results import Hit, clock, hits_table, seconds_of, times


@pytest.mark.parametrize(
    ("seconds", "digits", "shown"),
    [(7.0, 0, "0:07"), (59.96, 0, "1:00"), (61.25, 1, "1:01.2"), (5400.0, 0, "1:30:00"), (3599.99, 1, "1:00:00.0")],
)
def test_times_as_people_write_them(seconds, digits, shown):
    assert clock(seconds, digits) == shown


def test_stretches_as_people_write_them():
    assert times(3600.0, 3610.0) == "1:00:00 to 1:00:10"
    assert times(1.25, 6.2, "-") == "0:01.2-0:06.2"


def test_times_are_read_as_people_write_them():
    assert [seconds_of(time) for time in ("90", "1:30", "1:02:03.5", "0:07")] == [90, 90, 3723.5, 7]
    for time in ("", "1:75", "-3", "1:2:3:4", "soon", "nan", "inf"):
        with pytest.raises(ValueError, match="expected a time within the video, as 90, 1:30 or 1:02:03"):
            seconds_of(time)


def hit(name, start=0.0, end=10.0, match=None):
    return Hit(Path("/videos") / name, start, end, 1.234, 0.456, match, 0, 1)


def test_the_table_fits_eighty_columns():
    console = Console(width=80, markup=False, record=True, file=StringIO())
    hits = [hit("holiday/" + "long name " * 12 + ".mp4", 3600.0, 3610.0, 0.87), hit("b [1].mp4")]
    console.print(hits_table("a dog catches a frisbee", hits))
    told = console.export_text()
    assert max(map(len, told.splitlines())) <= 80
    for words in ("1:00:00-1:00:10", "87%", "1.234", "b [1].mp4", "files in /videos"):
        assert words in told


def test_a_sheet_shows_each_hit(made, index):
    hits = index.search("a red square", k=3, rerank=2)
    sheet = np.asarray(contact_sheet(index, "a red square", hits, frames=4))
    assert sheet.shape[0] == 34 + 3 * (120 + 34 + 8)
    pictures = index.pictures(hits[0], 4)
    first = sheet[68:188, 8 : 8 + 180].reshape(60, 2, 90, 2, 3).mean(axis=(1, 3))
    small = pictures[0][:60, :90].mean(axis=(0, 1))
    assert np.abs(first.mean(axis=(0, 1)) - small).max() < 30
    made[0].joinpath("a.mp4").rename(made[0] / "a.away")
    try:
        gone = [each for each in hits if each.path.name == "a.mp4"] or [index.search("a", k=4)[-1]]
        assert contact_sheet(index, "a", gone, frames=2).width > 0
    finally:
        made[0].joinpath("a.away").rename(made[0] / "a.mp4")
    with pytest.raises(ValueError, match="expected hits to draw"):
        contact_sheet(index, "a", [])


def test_a_picture_that_can_not_be_written_is_refused_beforehand(tmp_path):
    check_picture(None)
    check_picture(tmp_path / "x.jpg")
    for path in (tmp_path / "no" / "x.png", tmp_path / "x.doc", tmp_path / "x"):
        with pytest.raises(ValueError, match="--save: expected"):
            check_picture(path)
