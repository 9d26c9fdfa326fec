"""The pictures show the model's own values, read back from what was drawn; the command writes them."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from rendered_clips import render
from small_blip import make_blip

from litevl import VideoTextRetrieval
from litevl.adapters import (
    AIMConfig,
    LiteVLConfig,
    PoolingConfig,
    disable_adapters,
    find_vision_encoder,
    merge,
    plug,
    save_adapters,
    set_adapter,
    text_weights,
)
from litevl.blip import save_blip
from litevl.data.preprocess import normalize, resize_frames
from litevl.evilm import VQTokenizer, VQTokenizerConfig, save_vq_tokenizer
from litevl.plots import plot_codes, plot_pooling, plot_scales
from litevl.plots.__main__ import main
from litevl.plots.figure import new_figure
from litevl.plots.pooling import as_pictures
from litevl.training import RetrievalModelConfig, build_model, load_backbone, save_model

FRAMES = 4
TEXT = "a red square moves left to right"


@pytest.fixture
def clip():
    return torch.randn(FRAMES, 3, 48, 48, generator=torch.Generator().manual_seed(1))


def title(figure):
    """As `get_suptitle`, which Matplotlib has from 3.8 on."""
    return figure._suptitle.get_text()


def scalings(model, name="default"):
    parts = [block.module.litevl[name] for block in find_vision_encoder(model).blocks]
    return [part["temporal_attention"].scaling for part in parts if "temporal_attention" in part]


@torch.no_grad()
def shake(model, name="default"):
    generator = torch.Generator().manual_seed(2)
    for scaling in scalings(model, name):
        for parameter in scaling.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
    return model


def plugged(blip, name="default", **options):
    return shake(plug(blip, LiteVLConfig(num_frames=FRAMES, **options), name, verbose=False), name)


def images(axes):
    return [image.get_array() for image in axes.get_images()]


class TestScales:
    def test_colours_and_numbers_are_the_learned_scales(self, blip):
        figure = plot_scales(plugged(blip))
        axes, colours = figure.axes
        expected = torch.stack([1 + scaling.gamma.tanh() for scaling in scalings(blip)]).detach().numpy()
        np.testing.assert_allclose(images(axes)[0], expected, rtol=1e-6)
        written = [text.get_text() for text in axes.texts]
        assert written == [f"{value:.2f}" for value in expected.flatten()]
        low, high = axes.get_images()[0].get_clim()
        assert low + high == pytest.approx(2), "white is a scale of one"
        assert expected.min() >= low
        assert expected.max() <= high
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("frame of a clip", "block of the vision encoder")
        assert "0 = not at all" in colours.get_ylabel()

    def test_small_differences_look_small(self, blip):
        plug(blip, LiteVLConfig(num_frames=FRAMES), verbose=False)
        assert plot_scales(blip).axes[0].get_images()[0].get_clim() == pytest.approx((0.9, 1.1))

    def test_blocks_without_scaling_are_empty(self, blip):
        axes = plot_scales(plugged(blip, layers=(1,))).axes[0]
        drawn = images(axes)[0]
        assert drawn.mask[[0, 2]].all()
        assert not drawn.mask[1].any()
        assert axes.texts[0].get_text() == "-"

    def test_a_clip_gets_its_own_scales(self, blip, clip):
        plugged(blip, scaling="conditional")
        used = []
        for scaling in scalings(blip):
            scaling.register_forward_hook(lambda _, args, scale: used.append(scale[0]))
        drawn = images(plot_scales(blip, clip=clip).axes[0])[0]
        np.testing.assert_allclose(drawn, torch.stack(used).numpy(), rtol=1e-6)
        assert drawn.std() > 0
        assert all(len(scaling._forward_hooks) == 1 for scaling in scalings(blip)), "its own hooks are gone"

    def test_a_clip_of_other_length_gets_interpolated_scales(self, blip, clip):
        plugged(blip)
        drawn = images(plot_scales(blip, clip=clip[:2]).axes[0])[0]
        expected = [torch.tanh(scaling.gamma.unflatten(0, (2, 2)).mean(1)) + 1 for scaling in scalings(blip)]
        np.testing.assert_allclose(drawn, torch.stack(expected).detach().numpy(), rtol=1e-6)

    def test_merged_and_other_adapters_are_drawn_too(self, blip):
        before = images(plot_scales(plugged(blip)).axes[0])[0]
        assert np.array_equal(images(plot_scales(merge(blip)).axes[0])[0], before)
        plug(blip, LiteVLConfig(num_frames=2), "other", verbose=False)
        assert images(plot_scales(blip).axes[0])[0].shape == (3, 2)
        assert np.array_equal(images(plot_scales(blip, "default").axes[0])[0], before)

    def test_misuse_is_named(self, blip, clip):
        with pytest.raises(ValueError, match="none, a stock model"):
            plot_scales(blip)
        plugged(blip, scaling="conditional")
        with pytest.raises(ValueError, match="pass clip="):
            plot_scales(blip)
        with pytest.raises(ValueError, match=r"'default'.*; got 'other'"):
            plot_scales(blip, "other")
        with disable_adapters(blip), pytest.raises(ValueError, match="got None"):
            plot_scales(blip)
        plug(blip, AIMConfig(num_frames=FRAMES), "aim", verbose=False)
        with pytest.raises(ValueError, match="with temporal scaling; 'aim' is AIMConfig"):
            plot_scales(blip)
        with pytest.raises(ValueError, match=r"call set_adapter\(model, 'default'\)"):
            plot_scales(blip, "default", clip)
        set_adapter(blip, "default")
        plot_scales(blip, "default", clip)


class TestPooling:
    @pytest.fixture(params=["clip", "frame"])
    def model(self, blip, request):
        return VideoTextRetrieval(plugged(blip, cls=request.param), PoolingConfig(tau=0.05)).eval()

    def drawn(self, figure, count, abreast):
        """Pictures, overlays, and heights and labels of bars, of each frame."""
        grid = np.array(figure.axes[: -(-count // abreast) * 3 * abreast]).reshape(-1, 3, abreast)
        columns = [grid[number // abreast, :, number % abreast] for number in range(count)]
        bars = [bar.patches[0].get_height() for _, _, bar in columns]
        return [images(frame)[0] for frame, _, _ in columns], [images(each)[1] for _, each, _ in columns], bars, columns

    def test_bars_and_overlays_are_the_weights_of_the_matching_path(self, model, clip):
        figure = plot_pooling(model, clip, TEXT)
        with torch.no_grad():
            video, text = model.encode_video(clip[None]), model.encode_text([TEXT])
            memory = model.matching_memory(text, video)[0]
        patches = video.patches[0]
        project = model.blip.vision_proj
        of_frames = text_weights(project(patches.mean(1))[None], text.embed, 0.05)[0]
        of_patches = text_weights(project(patches.mean(0))[None], text.embed, 0.05)[0]
        pictures, overlays, bars, columns = self.drawn(figure, FRAMES, 4)
        np.testing.assert_allclose(bars, of_frames.detach().numpy(), rtol=1e-4)
        for overlay in overlays:
            np.testing.assert_allclose(overlay.flatten(), of_patches.detach().numpy(), rtol=1e-4)
        added = torch.cat([torch.tensor(bars)[:, None] * patches.mean(1), of_patches[:, None] * patches.mean(0)])
        assert torch.allclose(memory[-FRAMES - 9 :], added.float(), atol=1e-4)
        assert np.ptp(bars) > 0.01
        assert np.ptp(overlays[0]) > 0.01
        assert np.array_equal(pictures, as_pictures(clip))
        assert [bar.get_xlabel() for _, _, bar in columns] == [f"{value:.2f}" for value in bars]
        assert [frame.get_title() for frame, _, _ in columns] == [f"frame {number}" for number in range(FRAMES)]
        assert title(figure) == f"“{TEXT}”"

    def test_patches_lie_where_they_are_in_the_frame(self, model, clip):
        frames = np.zeros((FRAMES, 90, 120, 3), np.uint8)
        figure = plot_pooling(model, clip, TEXT, frames)
        gray, overlay = figure.axes[4].get_images()
        assert [*overlay.get_extent()] == [*gray.get_extent()] == [-0.5, 119.5, 89.5, -0.5]
        assert overlay.get_array().shape == (3, 3)

    def test_the_model_is_only_looked_at(self, model, clip):
        model.train()
        model.blip.text_encoder.eval()
        modes = [module.training for module in model.modules()]
        first, second = plot_pooling(model, clip, TEXT), plot_pooling(model, clip, TEXT)
        assert self.drawn(first, FRAMES, 4)[2] == self.drawn(second, FRAMES, 4)[2]
        assert [module.training for module in model.modules()] == modes
        assert all(parameter.grad is None for parameter in model.parameters())

    def test_many_frames_take_several_lines_and_few_leave_places_empty(self, model):
        clip = torch.randn(10, 3, 48, 48, generator=torch.Generator().manual_seed(3))
        figure = plot_pooling(model, clip, TEXT)
        _, _, bars, _ = self.drawn(figure, 10, 8)
        assert np.mean(bars) == pytest.approx(1, abs=1e-4)
        assert [axes.get_title() for axes in figure.axes if axes.get_visible() and axes.get_title()] == [
            f"frame {number}" for number in range(10)
        ]
        assert len([axes for axes in plot_pooling(model, clip[:1], TEXT).axes if axes.get_visible()]) == 3 + 1

    def test_texts_are_drawn_as_they_are(self, model, clip, tmp_path):
        plot_pooling(model, clip, r"from $5 to $\nothing_{", None).savefig(tmp_path / "picture.png")

    def test_mean_pooling_is_one_everywhere(self, model, clip):
        model.pooling = PoolingConfig("mean")
        _, overlays, bars, _ = self.drawn(plot_pooling(model, clip, TEXT), FRAMES, 4)
        assert set(bars) == {1.0}
        assert (overlays[0] == 1).all()

    def test_misuse_is_named(self, model, clip):
        with pytest.raises(ValueError, match="4 frames, got 2"):
            plot_pooling(model, clip, TEXT, np.zeros((2, 48, 48, 3), np.uint8))
        model.pooling = PoolingConfig("none")
        with pytest.raises(ValueError, match="mode='none'"):
            plot_pooling(model, clip, TEXT)


def test_preprocessing_is_undone():
    pixels = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(as_pictures(normalize(pixels)), pixels.permute(0, 2, 3, 1).numpy())


def test_without_matplotlib_the_extra_is_named(blip, clip, monkeypatch):
    model = VideoTextRetrieval(plugged(blip)).eval()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for plot in (lambda: plot_scales(blip), lambda: plot_pooling(model, clip, TEXT)):
        with pytest.raises(ImportError, match=r"pip install 'litevl\[plots\]'"):
            plot()


class TestCodes:
    """What a tokenizer's codes look at."""

    SIZES = VQTokenizerConfig(image_size=48, patch_size=12, width=16, layers=1, heads=2, codes=3, code_dim=2)

    @pytest.fixture
    def frames(self):
        """Each patch all black, gray or white."""
        shades = np.random.default_rng(0).integers(0, 3, (20, 4, 4)).astype(np.uint8) * 127
        return np.repeat(np.repeat(shades, 12, axis=1), 12, axis=2)[..., None].repeat(3, axis=3)

    @pytest.fixture
    def tokenizer(self, monkeypatch):
        """Gives black, gray and white patches the codes 2, 0 and 1."""
        tokenizer = VQTokenizer(self.SIZES, teacher_dim=4)

        def tokenize(pixels):
            shade = pixels[:, 0].unfold(1, 12, 12).unfold(2, 12, 12).mean(dim=(-1, -2)).flatten(1)
            return torch.tensor([2, 0, 1])[(shade > -1).long() + (shade > 1).long()]

        monkeypatch.setattr(tokenizer, "tokenize", tokenize)
        return tokenizer

    def test_a_rows_patches_have_its_code(self, tokenizer, frames):
        figure = plot_codes(tokenizer, frames, codes=3, examples=5)
        rows = np.array(figure.axes).reshape(3, 5)
        shades = {"code 2": 0, "code 0": 127, "code 1": 254}
        counts = []
        for row in rows:
            said, share = row[0].texts[0].get_text().split("\n")
            counts.append(float(share.rstrip("%")))
            for cell in row:
                (image,) = cell.images
                picture = np.asarray(image.get_array())
                assert picture.shape == (48, 48, 3)
                (outline,) = cell.patches
                left, top = (round(place + 0.5) for place in outline.get_xy())
                assert (picture[top : top + 12, left : left + 12] == shades[said]).all(), (
                    "what is outlined has the code"
                )
        assert counts == sorted(counts, reverse=True)
        assert sum(counts) == pytest.approx(100, abs=0.2)
        assert "3 of 3 codes are used" in title(figure)

    @pytest.fixture
    def mostly_empty(self, tokenizer, monkeypatch):
        """Frames of flat patches of many codes, and one striped patch each, of two rare codes."""
        frames = np.full((40, 48, 48, 3), 20, np.uint8)
        frames[:, 12:24:2, 12:24] = 200
        ids = torch.from_numpy(np.random.default_rng(1).integers(0, 20, (40, 16)))
        ids[:, 5] = 30 + (torch.arange(40) % 4 == 0)
        tokenizer.config = replace(self.SIZES, codes=40)
        monkeypatch.setattr(tokenizer, "tokenize", lambda pixels: ids[: len(pixels)])
        return frames

    def test_half_of_the_rows_are_of_patches_with_contrast(self, tokenizer, mostly_empty, monkeypatch):
        # A quarter of the patches has to be contrasted for the quantile to lie among them.
        striped = mostly_empty.copy()
        for row in (0, 24, 36):
            striped[:, row : row + 12 : 2, 12:24] = 60
        figure = plot_codes(tokenizer, striped, codes=4, examples=5)
        said = [axes.texts[0].get_text().split("\n")[0] for axes in np.array(figure.axes).reshape(4, 5)[:, 0]]
        assert said[2:] == ["code 30", "code 31"]
        assert not {"code 30", "code 31"} & set(said[:2])
        assert "the 2 commonest, then the 2 commonest of patches with much contrast" in title(figure)

    def test_where_nothing_has_contrast_all_rows_are_the_commonest(self, tokenizer, mostly_empty):
        figure = plot_codes(tokenizer, np.zeros_like(mostly_empty), codes=4, examples=5)
        assert len(figure.axes) == 20
        assert "the 4 commonest\n" in title(figure)

    def test_outlines_are_seen_on_every_ground(self, tokenizer, frames):
        (outline,) = plot_codes(tokenizer, frames, codes=1, examples=1).axes[0].patches
        assert outline.get_path_effects(), "a line around the line"
        assert outline.get_edgecolor()[:3] == (1, 0, 1)

    def test_codes_that_do_not_occur_have_no_row(self, tokenizer, frames):
        figure = plot_codes(tokenizer, np.zeros_like(frames), codes=3, examples=5)
        assert len(figure.axes) == 5
        with pytest.raises(ValueError, match="expected frames"):
            plot_codes(tokenizer, frames[:0])

    def test_the_command_draws_a_tokenizer_of_a_folder(self, tmp_path, capsys):
        tokenizer = VQTokenizer(self.SIZES, teacher_dim=4)
        save_vq_tokenizer(tokenizer, tmp_path / "tokenizer")
        render(tmp_path / "clip.mp4")
        words = ["codes", str(tmp_path / "tokenizer"), "--videos", str(tmp_path)]
        main([*words, "--save", str(tmp_path / "codes.png"), "--frames", "3"])
        assert (tmp_path / "codes.png").read_bytes().startswith(b"\x89PNG")
        (tmp_path / "empty").mkdir()
        with pytest.raises(SystemExit, match="2"):
            main(["codes", str(tmp_path / "tokenizer"), "--videos", str(tmp_path / "empty")])
        assert "expected video files" in capsys.readouterr().err


class TestCommand:
    @pytest.fixture
    def backbone(self, tokenizer, vocab_file, tmp_path):
        save_blip(make_blip(tokenizer), tmp_path / "blip")
        (tmp_path / "blip" / "vocab.txt").write_bytes(vocab_file.read_bytes())
        return str(tmp_path / "blip")

    @pytest.fixture
    def video(self, tmp_path):
        return str(render(tmp_path / "clip.mp4"))

    def run_folder(self, backbone, folder, **options):
        config = RetrievalModelConfig(backbone, adapter=LiteVLConfig(num_frames=FRAMES), **options)
        model = build_model(load_backbone(config, torch.device("cpu")), config)
        save_model(shake(model), config, folder)
        return folder

    @pytest.mark.parametrize("options", [{}, {"heads": "copied"}, {"train": "adapters+lora"}, {"train": "all"}])
    def test_both_pictures_of_a_run_folder(self, backbone, video, tmp_path, capsys, options):
        run = self.run_folder(backbone, tmp_path / "run", **options)
        pictures = [tmp_path / "scales.png", tmp_path / "pooling.png"]
        main(["scales", str(run), "--save", str(pictures[0])])
        main(["pooling", str(run), "--video", video, "--text", TEXT, "--save", str(pictures[1])])
        assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)
        assert capsys.readouterr().out == f"{pictures[0]}\n{pictures[1]}\n"

    def test_it_draws_what_the_trained_model_has(self, backbone, video, tmp_path, monkeypatch):
        run = self.run_folder(backbone, tmp_path / "run", pooling=PoolingConfig(tau=0.02))
        drawn = {}

        def note(name):
            def plot(*given, **named):
                drawn[name] = (*given, *named.values())
                return new_figure(1.0, 1.0)

            monkeypatch.setattr(f"litevl.plots.__main__.plot_{name}", plot)

        note("scales")
        note("pooling")
        monkeypatch.chdir(tmp_path)
        main(["scales", str(run), "--video", video])
        main(["pooling", str(run), "--video", video, "--text", TEXT])
        model, clip = drawn["scales"]
        trained = plugged(load_backbone(RetrievalModelConfig(backbone), torch.device("cpu")))
        pairs = zip(scalings(model), scalings(trained), strict=True)
        assert all(torch.equal(one.gamma, other.gamma) for one, other in pairs)
        same, again, text, frames = drawn["pooling"]
        assert same.pooling == PoolingConfig(tau=0.02)
        assert torch.equal(again, clip)
        assert torch.equal(clip, normalize(resize_frames(frames, 48)))
        assert frames.shape == (FRAMES, 64, 96, 3)
        assert text == TEXT

    def test_adapters_that_do_not_say_their_backbone_need_it_named(self, backbone, video, tmp_path, capsys):
        model = load_backbone(RetrievalModelConfig(backbone), torch.device("cpu"))
        folder, picture = save_adapters(plugged(model), tmp_path / "adapters"), tmp_path / "picture.svg"
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        config.pop("backbone", None)
        (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
        with pytest.raises(SystemExit, match="2"):
            main(["scales", str(folder), "--save", str(picture)])
        assert "name it with --backbone" in capsys.readouterr().err
        main(["scales", str(folder), "--save", str(picture), "--backbone", backbone])
        assert "<svg" in picture.read_text(encoding="utf-8")
        main(["pooling", str(folder), "--video", video, "--text", TEXT, "--save", str(picture), "--backbone", backbone])

    def test_what_cannot_be_drawn_is_said_in_a_line(self, backbone, tmp_path, capsys):
        run = self.run_folder(backbone, tmp_path / "run")
        for words in (["scales", str(tmp_path)], ["pooling", str(run), "--video", "no.mp4", "--text", TEXT]):
            with pytest.raises(SystemExit, match="2"):
                main(words)
            said = capsys.readouterr().err
            assert said.startswith("error: ")
            assert ("adapter_config.json" if words[0] == "scales" else "no.mp4") in said
