"""`litevl ask` and `litevl caption`: what a model says of one video."""

import json as json_format
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from litevl.commands.failure import fail
from litevl.data.video import Decoder
from litevl.search.options import ADVICE, DECODE_TIMEOUT

if TYPE_CHECKING:
    from litevl.data.fresh_process import Call
    from litevl.search.saying import Said, Stretch


def ask(
    video: Positional[Path],
    question: Positional[str],
    start: str | None = None,
    end: str | None = None,
    seconds: float = 30.0,
    frames: int | None = None,
    answers: Path | None = None,
    backbone: str | None = None,
    adapter: Path | None = None,
    vocab: str | None = None,
    decoder: Decoder = "auto",
    device: str | None = None,
    decode_timeout: float = DECODE_TIMEOUT,
    json: bool = False,
) -> int:
    """Answers a question about a video; about a long one in windows, each by itself.

    A run's own list of answers is chosen from where it was trained with a classifier; otherwise the answer is written
    by BLIP's decoder, or chosen from --answers. With each stands the probability that the model gives to those words.

    Exit code: 0, or 2 where the video can't be read or the model not be loaded.

    As in

    litevl ask holiday.mp4 "what is the man doing?" --backbone Salesforce/blip-vqa-base --adapter runs/msrvtt_qa

    litevl ask match.mp4 "who has the ball?" --start 1:10 --end 1:40

    Args:
        video: the file.
        question: what to ask.
        start: from this time on, as 90, 1:30 or 1:02:03.
        end: up to this time.
        seconds: a longer video, or part, is divided into equal windows of about so long.
        frames: of each window; by default as many as the adapter was trained with, 8 without one.
        answers: a text file with an answer on each line, to choose from.
        backbone: a BLIP for question answering: a hub id, a transformers folder, an original or LAVIS .pth file, or
            `embedded`, the small one that ships, which is the default. With --adapter, where its backbone is now.
        adapter: the folder of a finished run of question answering, or of saved adapters.
        vocab: for a .pth backbone without a vocab.txt beside it: BERT's vocabulary file, or a hub id that has it.
        decoder: what to decode with.
        device: for the model, as cpu or cuda:0; by default a GPU where there is one.
        decode_timeout: seconds that decoding may take for a window; what hangs or crashes is named, but on Windows.
        json: print everything as JSON.
    """

    def work(source: Any, on: Any, call: "Call") -> "Iterable[Said]":
        from litevl.search.saying import answer
        from litevl.tasks.saved import load_answering

        stretch = _stretch(start, end, seconds, decoder)
        model, listed = load_answering(source, on)
        given = listed if model.classifier is not None else ()
        if answers is not None:
            given = tuple(line for line in answers.read_text(encoding="utf-8").splitlines() if line.strip())
        return answer(model, video, question, _framed(stretch, frames, model), given, call)

    return _say(
        {"video": str(video), "question": question}, backbone, adapter, vocab, device, decode_timeout, json, work
    )


def caption(
    video: Positional[Path],
    start: str | None = None,
    end: str | None = None,
    seconds: float = 30.0,
    frames: int | None = None,
    backbone: str | None = None,
    adapter: Path | None = None,
    vocab: str | None = None,
    decoder: Decoder = "auto",
    device: str | None = None,
    decode_timeout: float = DECODE_TIMEOUT,
    json: bool = False,
) -> int:
    """Writes a caption of a video; of a long one of each window.

    Exit code: 0, or 2 where the video can't be read or the model not be loaded.

    As in

    litevl caption holiday.mp4 --backbone Salesforce/blip-image-captioning-base --adapter runs/msrvtt_captioning

    litevl caption lecture.mp4 --seconds 60 --json

    Args:
        video: the file.
        start: from this time on, as 90, 1:30 or 1:02:03.
        end: up to this time.
        seconds: a longer video, or part, is divided into equal windows of about so long.
        frames: of each window; by default as many as the adapter was trained with, 8 without one.
        backbone: a BLIP for captioning: a hub id, a transformers folder, an original or LAVIS .pth file, or
            `embedded`, the small one that ships, which is the default. With --adapter, where its backbone is now.
        adapter: the folder of a finished run of captioning, or of saved adapters.
        vocab: for a .pth backbone without a vocab.txt beside it: BERT's vocabulary file, or a hub id that has it.
        decoder: what to decode with.
        device: for the model, as cpu or cuda:0; by default a GPU where there is one.
        decode_timeout: seconds that decoding may take for a window; what hangs or crashes is named, but on Windows.
        json: print everything as JSON.
    """

    def work(source: Any, on: Any, call: "Call") -> "Iterable[Said]":
        from litevl.search.saying import caption as captions
        from litevl.tasks.saved import load_captioning

        stretch = _stretch(start, end, seconds, decoder)
        model = load_captioning(source, on)
        return captions(model, video, _framed(stretch, frames, model), call)

    return _say({"video": str(video)}, backbone, adapter, vocab, device, decode_timeout, json, work)


def _stretch(start: str | None, end: str | None, seconds: float, decoder: Decoder) -> "Stretch":
    from litevl.search.results import seconds_of
    from litevl.search.saying import Stretch

    first, last = (None if time is None else seconds_of(time) for time in (start, end))
    return Stretch(first, last, seconds, decoder=decoder)


def _framed(stretch: "Stretch", frames: int | None, model: Any) -> "Stretch":
    from dataclasses import replace

    from litevl.tasks.saved import frames_of

    return replace(stretch, num_frames=frames_of(model) if frames is None else frames)


def _say(
    told: dict[str, Any],
    backbone: str | None,
    adapter: Path | None,
    vocab: str | None,
    device: str | None,
    decode_timeout: float,
    as_json: bool,
    work: "Callable[[Any, Any, Call], Iterable[Said]]",
) -> int:
    from litevl.data.fresh_process import decoding_apart
    from litevl.data.video_index import VideoError
    from litevl.devices import find_device
    from litevl.search.results import clock
    from litevl.tasks.saved import Source

    said: list[Said] = []
    try:
        with decoding_apart(decode_timeout, ADVICE) as call:
            for each in work(Source(backbone, adapter, vocab), find_device(device), call):
                said.append(each)
                if not as_json:
                    sure = f"({100 * each.probability:.0f}%)"
                    print(f"{clock(each.start)}-{clock(each.end)}  {each.text}  {sure}", flush=True)
    except (ImportError, OSError, RuntimeError, ValueError, VideoError) as error:
        return fail(error)
    if as_json:
        print(json_format.dumps({**told, "said": [each.__dict__ for each in said]}, indent=2))
    return 0
