"""LSMDC's lists of clips: tab-separated without a header, one caption a line, clips in their movies' folders."""

import re
from pathlib import Path

from litevl.data.annotations import AnnotationError, read_text
from litevl.data.records import Records

TIME = re.compile(r"\d\d\.\d\d\.\d\d\.\d+")
"""Hours, minutes, seconds and thousandths, as `00.01.32.801`."""


def is_lsmdc(path: Path) -> bool:
    """Whether a file's first line is a clip, two pairs of times and a sentence.

    Raises:
        AnnotationError: the file can't be read.
    """
    if path.suffix.lower() not in (".csv", ".tsv", ".txt"):
        return False
    fields = read_text(path).lstrip().partition("\n")[0].split("\t")
    return len(fields) >= 6 and all(TIME.fullmatch(field.strip()) for field in fields[1:5])


def lsmdc_records(path: Path) -> Records:
    """Each line's clip, its file and its sentence. The times are those in the movie; the clip's file is the clip.

    Raises:
        AnnotationError: a line of another form.
    """
    records: Records = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        fields = [field.strip() for field in line.split("\t")]
        if not line.strip():
            continue
        if len(fields) < 6 or not all(TIME.fullmatch(field) for field in fields[1:5]):
            raise AnnotationError(
                path, f"line {number}", f"expected a clip, four times and a sentence between tabs, got {line!r:.80}"
            )
        clip = fields[0]
        movie = clip.rpartition("_")[0]
        records.append(
            (f"line {number}", {"video_id": clip, "path": f"{movie}/{clip}" if movie else clip, "text": fields[5]})
        )
    return records
