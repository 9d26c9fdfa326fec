"""The models that answer questions about hits and caption them, loaded when they are needed first."""

from pathlib import Path
from threading import Lock

import torch

from litevl.data.fresh_process import Call
from litevl.data.video import Decoder
from litevl.models import VideoCaptioning, VideoQuestionAnswering
from litevl.search.saying import Said, Stretch, answer, caption
from litevl.tasks.saved import Source, frames_of, load_answering, load_captioning


class Speaker:
    """Answers and captions, one at a time.

    Args:
        answering: the model that is asked.
        captioning: the model that captions.
        device: for both.
        decoder: of the videos.
        call: how they are decoded, see `VideoIndex.call`.
    """

    def __init__(self, answering: Source, captioning: Source, device: torch.device, decoder: Decoder, call: Call):
        self._sources, self._device, self._decoder, self._call = (answering, captioning), device, decoder, call
        self._lock = Lock()
        self._answering: tuple[VideoQuestionAnswering, tuple[str, ...]] | None = None
        self._captioning: VideoCaptioning | None = None

    def ask(self, path: Path, start: float, end: float, question: str) -> list[Said]:
        """Answers a question about a part of a video.

        Raises:
            ValueError: an empty question, or a model that does not load.
            VideoError: the video can't be read.
        """
        with self._lock:
            if self._answering is None:
                self._answering = load_answering(self._sources[0], self._device)
            model, listed = self._answering
            given = listed if model.classifier is not None else ()
            return list(answer(model, path, question, self._stretch(model, start, end), given, self._call))

    def caption(self, path: Path, start: float, end: float) -> list[Said]:
        """Captions a part of a video.

        Raises:
            ValueError: a model that does not load.
            VideoError: the video can't be read.
        """
        with self._lock:
            if self._captioning is None:
                self._captioning = load_captioning(self._sources[1], self._device)
            return list(caption(self._captioning, path, self._stretch(self._captioning, start, end), self._call))

    def _stretch(self, model: VideoQuestionAnswering | VideoCaptioning, start: float, end: float) -> Stretch:
        return Stretch(start, end, num_frames=frames_of(model), decoder=self._decoder)
