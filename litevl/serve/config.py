"""What a server is told when it starts."""

from dataclasses import dataclass, field
from pathlib import Path

from litevl.tasks.saved import Source


@dataclass(frozen=True)
class ServeConfig:
    """Where a server listens, and what it takes.

    Raises:
        ValueError: a limit that leaves nothing.
    """

    uploads: Path
    """The one folder that uploads are kept in; made if it is not there."""
    host: str = "127.0.0.1"
    """Loopback: this machine alone. The page asks for no password."""
    port: int = 7860
    """0 for any that is free."""
    max_upload_mb: float = 200.0
    """Of one video."""
    max_total_gb: float = 10.0
    """Of all that was uploaded."""
    timeout: float = 600.0
    """Seconds that taking in an uploaded video may take, and that it waits where the index is being updated."""
    decode_timeout: float = 30.0
    """Seconds that decoding for a hit, or to the next segment of an uploaded video, may take."""
    hits: int = 8
    """That a search shows."""
    rerank: int = 16
    """Of the most similar that are matched by cross-attention."""
    answering: Source = field(default_factory=Source)
    """The model that is asked about hits."""
    captioning: Source = field(default_factory=Source)
    """The model that captions hits."""

    def __post_init__(self) -> None:
        for name in ("max_upload_mb", "max_total_gb", "timeout", "decode_timeout", "hits"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name}: expected more than 0, got {getattr(self, name)}")
        if self.rerank < 0:
            raise ValueError(f"rerank: expected 0 or more, got {self.rerank}")
        if not 0 <= self.port < 1 << 16:
            raise ValueError(f"port: expected 0 to 65535, got {self.port}")

    @property
    def max_bytes(self) -> int:
        """The size of the largest upload."""
        return int(self.max_upload_mb * 1e6)
