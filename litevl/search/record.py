"""What an index was made with, and by what: the file that every later use is held to."""

import hashlib
import json
import uuid
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import dacite
import torch
from filelock import FileLock

from litevl.adapters.aside import file_aside
from litevl.adapters.choices import check_choices
from litevl.adapters.fingerprint import digest_of
from litevl.data.preprocess import PreprocessConfig
from litevl.data.video import Decoder
from litevl.models.interfaces import RetrievalModel
from litevl.tasks.saved import Source, frames_of

from .errors import SearchError
from .options import Precision
from .segments import SegmentConfig

FORMAT = 1
NAME = "index.json"


@dataclass(frozen=True)
class IndexConfig:
    """How an index is made.

    Raises:
        ValueError: fewer than one frame.
    """

    source: Source = field(default_factory=Source)
    """The model: a backbone, and what was trained on it."""
    segments: SegmentConfig = field(default_factory=SegmentConfig)
    """How videos are cut."""
    num_frames: int | None = None
    """Frames of a segment; by default as many as the model was trained with."""
    tokens: Precision = "float16"
    """Keep each segment's tokens on disk for re-ranking (2.4 MB for 8 frames of 224 pixels by ViT-B, in float16); with
    `none`, re-ranking decodes and encodes its candidates again."""
    decoder: Decoder = "auto"
    """See `read_frames`."""
    store: str | None = None
    """Where the vectors are: by default in the index's folder; or `s3://...`, or `db://NAME`, a LanceDB server."""

    def __post_init__(self) -> None:
        check_choices(self)
        if self.num_frames is not None and self.num_frames < 1:
            raise ValueError(f"num_frames: expected at least 1, got {self.num_frames}")

    def absolute(self) -> "IndexConfig":
        """With absolute paths, so that the index means the same from anywhere."""
        source = self.source
        backbone = source.backbone
        if backbone is not None and Path(backbone).exists():
            backbone = str(Path(backbone).resolve())
        adapter = None if source.adapter is None else source.adapter.resolve()
        return replace(self, source=replace(source, backbone=backbone, adapter=adapter))


@dataclass(frozen=True)
class Maker:
    """The model that made an index's embeddings, as far as another can be told from it."""

    fingerprint: str
    """Of all its weights, its preprocessing and the number of frames."""
    name: str
    num_frames: int
    image_size: int
    embed_dim: int
    cls: Literal["clip", "frame"]
    """Whether its tokens have one CLS for the clip or one for each frame."""

    def __str__(self) -> str:
        return f"{self.name}, {self.num_frames} frames of {self.image_size} px, fingerprint {self.fingerprint}"


@dataclass(frozen=True)
class Record:
    """The contents of an index's file."""

    format: int
    id: str
    """Told apart by it are indexes that share a store."""
    config: IndexConfig
    maker: Maker


def describe(model: RetrievalModel, config: IndexConfig) -> Maker:
    """What a model is to an index."""
    num_frames = config.num_frames or frames_of(model)
    preprocess = PreprocessConfig(model.image_size)
    pooling: Any = getattr(model, "pooling", None)
    said = {
        "weights": digest_of(dict(model.state_dict())),  # type: ignore[attr-defined]
        "pooling": None if pooling is None else asdict(pooling),
        "preprocessing": preprocess.fingerprint(),
        "num_frames": num_frames,
    }
    with torch.inference_mode():
        nothing = torch.zeros(1, num_frames, 3, model.image_size, model.image_size, device=model.device)
        cls = model.encode_video(nothing).cls
    backbone, adapter = config.source.backbone, config.source.adapter
    name = f"{backbone or 'embedded'}, frame by frame" if adapter is None else str(adapter)
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]
    return Maker(digest, name, num_frames, model.image_size, model.embed_dim, cls)


def read(folder: Path) -> Record | None:
    """The record of an index; None where there is no index.

    Raises:
        SearchError: it is damaged, or of a newer format.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(stored, dict):
            raise ValueError(f"expected an object, got {stored!r:.80}")
        if stored.get("format") != FORMAT:
            raise SearchError(
                f"{path}: expected format {FORMAT}, got {stored.get('format')}; use the litevl that made it"
            )
        return dacite.from_dict(Record, stored, dacite.Config(cast=[Path, tuple], strict=True))
    except (ValueError, dacite.DaciteError) as error:
        raise SearchError(f"{path}: not the record of an index ({error}); remove the folder and index again") from error


def write(folder: Path, config: IndexConfig, maker: Maker) -> Record:
    """The record of a new index; that of another process, if it made one here meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        found = read(folder)
        return found or _put(folder, Record(FORMAT, uuid.uuid4().hex[:12], config, maker))


def remember(folder: Path, record: Record, config: IndexConfig) -> Record:
    """Puts another place of the same model into the record of an index.

    Raises:
        SearchError: another index was made in its place meanwhile.
    """
    with _alone(folder):
        found = read(folder)
        if found is None or (found.id, found.maker) != (record.id, record.maker):
            raise SearchError(f"{folder}: another process has removed or replaced the index; run this again")
        return _put(folder, replace(found, config=config))


def _alone(folder: Path) -> FileLock:
    """Within it no other process writes the record. Not the lock of an update, which takes hours, this a moment."""
    return FileLock(folder / f"{NAME}.lock")


def _put(folder: Path, record: Record) -> Record:
    with file_aside(folder / NAME) as aside:
        aside.write_text(json.dumps(asdict(record), indent=2, default=str) + "\n", encoding="utf-8")
    return record
