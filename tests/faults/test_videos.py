"""Videos of every kind in runs of a recipe: what is read is what its file shows, what is not is named."""

import socket
from dataclasses import replace
from pathlib import Path

import own_retrieval as recipe
import pytest
import torch
from numbered_videos import READ, UNREADABLE, plain, shown
from PIL import Image

from litevl.adapters import LiteVLConfig
from litevl.data.clips import Clips
from litevl.data.coverage import UnusableVideosError
from litevl.data.preprocess import PreprocessConfig
from litevl.data.retrieval import RetrievalDataConfig
from litevl.data.video import VideoError, read_frames
from litevl.evaluation.retrieval import EvaluationConfig
from litevl.tasks import RetrievalConfig
from litevl.training import CaptionBatches, RetrievalModelConfig, TrainingConfig


def write(root: Path, splits: dict[str, list[str]]) -> dict[str, dict[str, str]]:
    """Videos of the kinds of each split, numbered 1, 2 ...; the id of each by its kind."""
    root.mkdir()
    ids: dict[str, dict[str, str]] = {}
    count = 0
    for split, kinds in splits.items():
        rows = ["video,caption"]
        for place, kind in enumerate(kinds):
            count += 1
            ending, make = READ.get(kind) or ("mp4", UNREADABLE[kind][0])
            assert make is not None
            make(root / f"v{count}.{ending}", count)
            ids.setdefault(split, {})[f"{kind} {place}"] = f"v{count}"
            rows.append(f"v{count},the caption of video {count}")
        (root / f"{split}.csv").write_text("\n".join(rows) + "\n")
    return ids


@pytest.fixture
def config(backbone, tmp_path) -> RetrievalConfig:
    """One epoch on `tmp_path/data`."""
    return RetrievalConfig(
        RetrievalModelConfig(str(backbone), adapter=LiteVLConfig(num_frames=3)),
        TrainingConfig(epochs=1, batch_size=4, precision="no", select_on="last"),
        EvaluationConfig(k=4, batch_size=4, pair_batch=16, workers=1),
        data=RetrievalDataConfig(root=tmp_path / "data", dataset="own", caption_mode="one", workers=1),
        baseline=False,
        output_dir=tmp_path / "run",
    )


@pytest.fixture
def seen(monkeypatch) -> list[tuple[str, str, set[int]]]:
    """Every clip that training or evaluation took: its id, its caption (in evaluation none), the numbers it shows."""
    taken: list[tuple[str, str, set[int]]] = []
    inputs, iterate, preprocess = CaptionBatches.inputs, Clips.__iter__, PreprocessConfig(48)
    mean, deviation = (torch.tensor(each)[:, None, None] for each in (preprocess.mean, preprocess.std))

    def watched_inputs(self, items):
        taken.extend(zip(items["video_id"], items["caption"], map(shown, items["frames"]), strict=True))
        return inputs(self, items)

    def watched_clips(self):
        for names, pixels in iterate(self):
            taken.extend(
                (name, "", shown((clip * deviation + mean) * 255)) for name, clip in zip(names, pixels, strict=True)
            )
            yield names, pixels

    monkeypatch.setattr(CaptionBatches, "inputs", watched_inputs)
    monkeypatch.setattr(Clips, "__iter__", watched_clips)
    return taken


def require_matched(seen: list[tuple[str, str, set[int]]]) -> None:
    for video, caption, numbers in seen:
        count = int(video.removeprefix("v"))
        assert numbers == {count}, (video, numbers)
        assert caption in ("", f"the caption of video {count}")


READABLE = [kind for kind, (_, make) in READ.items() if make is not None]


def test_what_cannot_be_read_is_left_out_and_named_and_all_else_is_itself(config, seen, tmp_path):
    kinds = [*READABLE, *UNREADABLE]
    ids = write(tmp_path / "data", {"train": [*kinds, "plain", "plain", "plain"], "val": ["plain"] * 2, "test": kinds})
    metrics = recipe.main(replace(config, data=replace(config.data, on_bad_video="skip")))
    require_matched(seen)
    lost = {
        split: [name for kind, name in ids[split].items() if kind.rpartition(" ")[0] in UNREADABLE] for split in ids
    }
    coverage = {"train": metrics["protocol"]["coverage"]["train"], "test": metrics["results"]["LiteVL"]["coverage"]}
    for split, text in coverage.items():
        total, bad = len(ids[split]), lost[split]
        assert text.startswith(f"coverage {total - len(bad)}/{total}"), text
    trained = {video for video, caption, _ in seen if caption}
    tested = {video for video, caption, _ in seen if not caption}
    # The last rows of an epoch that do not fill a batch are not trained on; of all others each good one is.
    assert trained <= set(ids["train"].values()) - set(lost["train"])
    assert len(trained) >= len(ids["train"]) - len(lost["train"]) - 3
    assert tested >= set(ids["test"].values()) - set(lost["test"])
    assert not tested & set(lost["test"])
    assert metrics["results"]["LiteVL"]["contrastive"]["t2v_gallery"] == len(READABLE)


def test_one_that_this_pyav_cannot_write_is_told():
    missing = [kind for kind, (_, make) in READ.items() if make is None]
    if missing:
        pytest.skip(f"not tried, for want of an encoder: {', '.join(missing)}")


@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.parametrize("split", ["train", "test"])
def test_it_ends_the_run_and_is_named(config, kind, split, tmp_path):
    splits = {"train": ["plain"] * 4, "test": ["plain"] * 2}
    splits[split][1] = kind
    ids = write(tmp_path / "data", splits)
    config = replace(config, data=replace(config.data, workers=0), evaluation=replace(config.evaluation, workers=0))
    with pytest.raises((VideoError, UnusableVideosError), match=UNREADABLE[kind][1]) as caught:
        recipe.main(config)
    name = ids[split][f"{kind} 1"]
    assert str(tmp_path / "data" / name) in str(caught.value)
    assert "--data.on-bad-video skip" in str(caught.value)


LISTS = {
    "ffconcat": "ffconcat version 1.0\nfile other.mp4\n",
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{address}\n#EXT-X-ENDLIST\n",
    "DASH": (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S"'
        ' profiles="urn:mpeg:dash:profile:isoff-live:2011"><Period><AdaptationSet mimeType="video/mp4"><Representation'
        ' id="1" bandwidth="1"><BaseURL>{address}</BaseURL></Representation></AdaptationSet></Period></MPD>'
    ),
    "a text": "not found\n" * 50,
}


@pytest.mark.parametrize("ending", ["mp4", "txt"])
@pytest.mark.parametrize("kind", LISTS)
def test_what_names_other_files_or_is_a_text_is_no_video(kind, ending, tmp_path):
    """FFmpeg would read what they name, from the disk and the network, and show a text as a film of it."""
    plain(tmp_path / "other.mp4", 5, 5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        path = tmp_path / f"a.{ending}"
        path.write_text(LISTS[kind].replace("{address}", f"http://127.0.0.1:{server.getsockname()[1]}/other.mp4"))
        with pytest.raises(VideoError, match=r"a\.\w+: expected a (readable )?video, got"):
            read_frames(path, 2)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_picture_is_no_video(tmp_path):
    Image.new("RGB", (64, 48)).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(tmp_path / "a.mp4")
    with pytest.raises(VideoError, match="expected a video, got another format"):
        read_frames(tmp_path / "a.mp4", 1)


def test_check_decoding_names_them_all_before_the_run(config, tmp_path):
    kinds = [kind for kind in UNREADABLE if kind not in ("a folder", "missing")][:4]
    ids = write(tmp_path / "data", {"train": ["plain"] * 4 + kinds, "test": ["plain"] * 2})
    with pytest.raises(UnusableVideosError, match=f"{len(kinds)} of {4 + len(kinds)} videos cannot be used") as caught:
        recipe.main(replace(config, data=replace(config.data, check_decoding=True)))
    for place, kind in enumerate(kinds, 4):
        assert f"{ids['train'][f'{kind} {place}']}.mp4" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_the_numbers_would_tell_a_mismatch(tmp_path):
    """The check above can fail: a clip of another video, a frame that is hidden, a picture upside down."""
    from rendered_clips import render

    assert plain(tmp_path / "a.mp4", 5)
    frames = torch.from_numpy(read_frames(tmp_path / "a.mp4", 3)).permute(0, 3, 1, 2)
    assert shown(frames) == {5}
    assert shown(frames.flip(-1, -2)) != {5}
    render(tmp_path / "b.mp4", 6, numbers=[5, 5, 7, 7, 5, 5])
    assert shown(torch.from_numpy(read_frames(tmp_path / "b.mp4", 6)).permute(0, 3, 1, 2)) == {5, 7}
