"""E-ViLM from the tokenizer to retrieval and questions through its recipes' `main`, on real files."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import evilm_ablation
import evilm_pretrain
import evilm_qa
import evilm_retrieval
import evilm_tokenizer
import msrvtt_qa
import msrvtt_retrieval
import pytest
import torch
from forked_runs import call, said_by
from safetensors.torch import load_file

from litevl.blip import CheckpointError
from litevl.comparison import compare
from litevl.data.question_answering import QuestionDataConfig
from litevl.data.retrieval import RetrievalDataConfig
from litevl.evaluation.answering import QuestionEvaluationConfig
from litevl.evaluation.retrieval import EvaluationConfig
from litevl.evilm import EViLMConfig, PretrainingLossConfig, VQTokenizerConfig, load_evilm
from litevl.tasks import parse
from litevl.tasks.evilm import EViLMModelConfig, EViLMQuestionAnsweringConfig, EViLMRetrieval, EViLMRetrievalConfig
from litevl.tasks.evilm_pretraining import EViLMPretrainingConfig, masked_table
from litevl.tasks.pretrained_model import PretrainedModelConfig
from litevl.tasks.vq_tokenizer import TokenizerEvaluationConfig, TokenizerTrainingConfig
from litevl.training import TrainingConfig, read_config
from litevl.training.run_folder import to_json

RECIPES = {"tokenizer": evilm_tokenizer, "pretrain": evilm_pretrain, "retrieval": evilm_retrieval, "qa": evilm_qa}
FILES = {"tokenizer": "vq_tokenizer", "pretrain": "evilm", "retrieval": "evilm", "qa": "evilm"}
TRAINING = TrainingConfig(epochs=1, batch_size=8, lr=1e-3, precision="no")
TINY = EViLMConfig(
    image_size=32,
    patch_size=8,
    num_frames=3,
    vision_dim=16,
    vision_layers=2,
    vision_heads=2,
    dim=16,
    heads=2,
    text_layers=1,
    fusion_layers=1,
    embed_dim=8,
    max_positions=40,
)


@pytest.fixture(scope="module")
def made(corpus, backbone, tmp_path_factory):
    """Every recipe's config of one epoch of two steps, each starting from the one before; all of them run once."""
    runs = tmp_path_factory.mktemp("evilm")
    data = RetrievalDataConfig(root=corpus, train_split="full", test_split="full", workers=0)
    evaluation = EvaluationConfig(k=4, batch_size=4, pair_batch=16, workers=0)
    configs = {
        "tokenizer": TokenizerTrainingConfig(
            VQTokenizerConfig(32, 8, width=16, layers=1, heads=2, codes=12, code_dim=4, teacher_source=str(backbone)),
            TRAINING,
            num_frames=3,
            evaluation=TokenizerEvaluationConfig(batch_size=4, workers=0),
            data=data,
        ),
        "pretrain": EViLMPretrainingConfig(
            PretrainedModelConfig(
                architecture=TINY,
                vocab=str(backbone / "vocab.txt"),
                tokenizer=str(runs / "tokenizer"),
                teacher_source=str(backbone),
            ),
            TRAINING,
            evaluation,
            data,
        ),
        "retrieval": EViLMRetrievalConfig(EViLMModelConfig(str(runs / "pretrain")), TRAINING, evaluation, data),
        "qa": EViLMQuestionAnsweringConfig(
            EViLMModelConfig(str(runs / "pretrain")),
            TRAINING,
            QuestionEvaluationConfig(batch_size=4, question_batch=8, workers=0),
            QuestionDataConfig(root=corpus, questions=3, workers=0),
        ),
    }
    configs = {name: replace(config, output_dir=runs / name) for name, config in configs.items()}
    metrics = {name: RECIPES[name].main(config) for name, config in configs.items()}
    return configs, metrics


def steps(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def tensors(folder, name):
    return load_file(folder / f"{FILES[name]}.safetensors")


def test_each_run_writes_what_the_next_starts_from(made):
    configs, metrics = made
    for name, config in configs.items():
        folder = config.output_dir
        assert len(steps(folder)) == metrics[name]["training"]["steps"]
        assert json.loads((folder / "metrics.json").read_text())["results"] == metrics[name]["results"]
        assert metrics[name]["training"]["clips"] == 8 * metrics[name]["training"]["steps"]
        assert metrics[name]["training"]["seconds"] > 0
        record = json.loads((folder / f"{FILES[name]}.json").read_text())
        assert record["metrics"]
        assert record["protocol"]["dataset"]
    assert set(steps(configs["pretrain"].output_dir)[0]) == {"step", "lr", "loss", "vtc", "vtm", "mlm", "mvm"}
    assert set(steps(configs["tokenizer"].output_dir)[0]) >= {"distance", "commitment", "perplexity", "usage"}


def test_what_is_measured(made):
    _, metrics = made
    codes = metrics["tokenizer"]["results"]["VQ tokenizer"]
    assert 0 < codes["usage"] <= 100
    assert 1 <= codes["perplexity"] <= 12
    assert 0 < codes["distance"] < 2
    before = metrics["pretrain"]["results"]["E-ViLM"]
    assert set(before["masked"]) == {"words", "patches"}
    assert before["contrastive"]["t2v_gallery"] == 8
    assert set(metrics["retrieval"]["results"]) == {"E-ViLM, zero-shot", "E-ViLM"}
    zero_shot = metrics["retrieval"]["results"]["E-ViLM, zero-shot"]
    assert zero_shot["contrastive"] == before["contrastive"], "fine-tuning starts from what pre-training ended with"
    assert zero_shot["order_accuracy"] == before["order_accuracy"]
    answered = metrics["qa"]["results"]["E-ViLM"]
    assert answered["answered"] == answered["questions"] == 32
    assert 0 < answered["ceiling"] < 100
    for name in ("retrieval", "qa"):
        assert metrics[name]["protocol"]["trained"] == "all"
        assert metrics[name]["protocol"]["num_frames"] == 3
    assert metrics["qa"]["protocol"]["head"] == "classifier"


def test_the_same_data_and_protocol_as_litevl(made, backbone, answering_backbone, tmp_path):
    configs, metrics = made
    backbones = {"retrieval": backbone, "qa": answering_backbone}
    for name, recipe in (("retrieval", msrvtt_retrieval), ("qa", msrvtt_qa)):
        config = replace(
            recipe.EMBEDDED,
            model=replace(recipe.EMBEDDED.model, backbone=str(backbones[name])),
            data=configs[name].data,
            evaluation=configs[name].evaluation,
            training=TRAINING,
            output_dir=tmp_path / name,
        )
        other, own = recipe.main(config)["protocol"], metrics[name]["protocol"]
        assert own.keys() <= other.keys()
        for key in own.keys() & {
            "task",
            "dataset",
            "test_split",
            "caption_mode",
            "sampling",
            "k",
            "coverage",
            "answers",
        }:
            assert own[key] == other[key], key
    runs = [configs["retrieval"].output_dir, tmp_path / "retrieval"]
    assert {line.name for line in compare(runs, measure=False).lines} >= {"E-ViLM", "LiteVL"}


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_is_evaluated_again_from_its_folder_alone(name, made, capsys):
    configs, metrics = made
    recipe, folder = RECIPES[name], configs[name].output_dir
    again = recipe.main(parse(["--evaluate", str(folder)], recipe.EMBEDDED, recipe.REAL, recipe.__doc__))
    assert again["results"] == metrics[name]["results"]
    assert "equal to the run's metrics.json" in capsys.readouterr().out


@pytest.mark.parametrize("name", RECIPES)
def test_the_same_seed_gives_the_same_losses_and_another_others(name, made, tmp_path):
    configs, _ = made
    for folder, seed in (("same", 0), ("other", 1)):
        config = replace(configs[name], output_dir=tmp_path / folder, seed=seed, baseline=False)
        RECIPES[name].main(config)
    assert steps(tmp_path / "same") == steps(configs[name].output_dir)
    assert steps(tmp_path / "other") != steps(configs[name].output_dir)


@pytest.mark.parametrize(("name", "similar"), [("tokenizer", 1), ("pretrain", 1), ("pretrain", 4)])
def test_a_stopped_run_resumes_to_the_same_end(name, similar, made, tmp_path, monkeypatch):
    from litevl.tasks import evilm_pretraining, vq_tokenizer

    kind = {"tokenizer": vq_tokenizer.TokenizerTraining, "pretrain": evilm_pretraining.EViLMPretraining}[name]
    configs, _ = made
    two = replace(configs[name].training, epochs=2, select_on="last")
    config = replace(configs[name], training=two, data=replace(configs[name].data, similar=similar))
    whole, parts = (replace(config, output_dir=tmp_path / folder) for folder in ("whole", "parts"))
    RECIPES[name].main(whole)
    save = kind.save

    def save_and_stop(self, model, folder):
        if (parts.output_dir / f"{FILES[name]}.safetensors").exists():
            raise KeyboardInterrupt
        save(self, model, folder)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            RECIPES[name].main(parts)
    RECIPES[name].main(replace(parts, resume=True))
    first, second = (tensors(config.output_dir, name) for config in (whole, parts))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    ("loss", "parts"),
    [
        ({"mvm_weight": 0.0}, {"vtc", "vtm", "mlm"}),
        ({"mlm_weight": 0.0}, {"vtc", "vtm", "mvm"}),
        ({"vtm_weight": 0.0, "vtc_weight": 0.0}, {"mlm", "mvm"}),
        ({"mlm_weight": 0.0, "mvm_weight": 0.0, "vtm_weight": 0.0}, {"vtc"}),
    ],
)
def test_every_part_of_the_objective_can_be_left_out(loss, parts, made, tmp_path):
    configs, _ = made
    config = replace(configs["pretrain"], loss=PretrainingLossConfig(**loss), output_dir=tmp_path / "run")
    metrics = evilm_pretrain.main(config)
    assert set(steps(tmp_path / "run")[0]) == {"step", "lr", "loss", *parts}
    told = {"mlm": "words", "mvm": "patches"}
    assert set(metrics["results"]["E-ViLM"].get("masked", {})) == {told[part] for part in parts & told.keys()}


def test_features_are_regressed(made, tmp_path):
    configs, _ = made
    model = replace(configs["pretrain"].model, target="features", tokenizer="nowhere")
    metrics = evilm_pretrain.main(replace(configs["pretrain"], model=model, output_dir=tmp_path / "run"))
    assert -100 <= metrics["results"]["E-ViLM"]["masked"]["patches"] <= 100
    assert metrics["protocol"]["mvm_target"].startswith("features of blip")


def going_on(configs, start):
    """The model's settings to go on from a start, which has its own sizes and vocabulary."""
    made = configs["pretrain"].model
    return PretrainedModelConfig(start, tokenizer=made.tokenizer, teacher_source=made.teacher_source)


def test_pretraining_goes_on_from_an_earlier_one(made, tmp_path):
    configs, metrics = made
    earlier = str(configs["pretrain"].output_dir)
    config = replace(configs["pretrain"], model=going_on(configs, earlier), output_dir=tmp_path / "run")
    found = evilm_pretrain.main(config)
    assert found["results"]["E-ViLM, before"] == metrics["pretrain"]["results"]["E-ViLM"]
    assert found["protocol"]["backbone_source"] == earlier


def test_misfits_are_named(made, tmp_path):
    configs, _ = made
    config = configs["pretrain"]
    other = replace(config.model, architecture=replace(TINY, patch_size=16))
    with pytest.raises(ValueError, match=r"tokenizer: expected one of frames of 32 px and 2 x 2 patches.* 4 x 4"):
        evilm_pretrain.main(replace(config, model=other, output_dir=tmp_path / "a"))
    start = EViLMModelConfig(str(tmp_path / "nowhere"))
    with pytest.raises(CheckpointError, match="nowhere"):
        evilm_retrieval.main(replace(configs["retrieval"], model=start, output_dir=tmp_path / "b"))
    with pytest.raises(ValueError, match="chooses from the list of answers"):
        replace(configs["qa"], evaluation=QuestionEvaluationConfig(inference="generate"))
    for name in ("qa", "pretrain", "tokenizer"):
        with pytest.raises(ValueError, match="epochs: "):
            replace(configs[name], training=replace(TRAINING, epochs=0))
    with pytest.raises(ValueError, match="look-alikes are for retrieval"):
        replace(configs["tokenizer"], data=replace(configs["tokenizer"].data, similar=8))


@pytest.mark.parametrize(
    "words",
    [
        ["--architecture.attention", "frame"],
        ["--vocab", "vocab.txt"],
        ["--vision-init", "facebook/deit-tiny-patch16-224"],
        ["--text-init", "microsoft/MiniLM-L12-H384-uncased"],
    ],
)
def test_settings_of_a_fresh_model_are_refused_beside_a_start(words, tmp_path):
    name = words[0].removeprefix("--").partition(".")[0].replace("-", "_")
    config = parse(words, evilm_pretrain.EMBEDDED, evilm_pretrain.REAL, "")
    with pytest.raises(ValueError, match=rf"{name}: expected for a fresh model alone, .*embedded.*`--start None`"):
        evilm_pretrain.main(config)
    stored = tmp_path / "config.json"
    stored.write_text(json.dumps(to_json(config)))
    assert read_config(EViLMPretrainingConfig, tmp_path) == config, "what an earlier version ran can still be read"


def test_defaults_and_a_fresh_model_are_not_refused(monkeypatch, tmp_path):
    from litevl.tasks import evilm_pretraining

    ran = []
    monkeypatch.setattr(evilm_pretraining, "run_task", lambda kind, config, *given: ran.append(config) or {})
    for words in ([], ["--start", "None", "--architecture.attention", "frame"], ["--data.root", "x", "--vocab", "v"]):
        words = [*words, "--tokenizer", "embedded"] if words else []
        evilm_pretrain.main(parse(words, evilm_pretrain.EMBEDDED, evilm_pretrain.REAL, ""))
    assert [config.model.start for config in ran] == ["embedded", None, None]
    monkeypatch.chdir(tmp_path)
    Path("google-bert/bert-base-uncased").mkdir(parents=True)
    evilm_pretrain.main(parse([], evilm_pretrain.EMBEDDED, evilm_pretrain.REAL, ""))


@pytest.mark.parametrize("name", ["pretrain", "retrieval", "qa"])
def test_real_data_do_not_fall_back_on_the_toys_that_ship(name, corpus, made):
    recipe, flag = RECIPES[name], "tokenizer" if name == "pretrain" else "start"
    words = ["--data.root", str(corpus)]
    folder = "evilm_tokenizer" if name == "pretrain" else "evilm_pretrain"
    message = rf"^{flag}: expected the folder .*got none; give that of a run of recipes/{folder}\.py with --{flag}, "
    with pytest.raises(ValueError, match=message):
        recipe.main(parse(words, recipe.EMBEDDED, recipe.REAL, ""))
    again = ["--evaluate", str(made[0][name].output_dir), *words]
    stored = made[0][name].model
    assert getattr(parse(again, recipe.EMBEDDED, recipe.REAL, "").model, flag) == getattr(stored, flag)


def test_pretraining_on_real_data_without_codes_needs_no_tokenizer(monkeypatch):
    from litevl.tasks import evilm_pretraining

    ran = []
    monkeypatch.setattr(evilm_pretraining, "run_task", lambda kind, config, *given: ran.append(config) or {})
    for words in (["--loss.mvm-weight", "0"], ["--target", "features"]):
        evilm_pretrain.main(parse(["--data.root", "x", *words], evilm_pretrain.EMBEDDED, evilm_pretrain.REAL, ""))
    assert [config.model.tokenizer for config in ran] == [None, None]


@pytest.mark.parametrize("words", [[], ["--data.root", "x"]])
def test_a_clip_has_to_be_named(words, capsys):
    message = r"teacher_source: expected the hub id or folder of a CLIP.*--teacher-source"
    with pytest.raises(ValueError, match=message):
        parse([*words, "--teacher", "clip"], evilm_tokenizer.EMBEDDED, evilm_tokenizer.REAL, "")
    words = [*words, "--teacher", "clip", "--target", "features"]
    with pytest.raises(ValueError, match=message):
        evilm_pretrain.main(parse(words, evilm_pretrain.EMBEDDED, evilm_pretrain.REAL, ""))


def test_a_start_is_measured_without_training(made, tmp_path):
    configs, metrics = made
    model = going_on(configs, str(configs["pretrain"].output_dir))
    training = replace(TRAINING, epochs=0)
    config = replace(configs["pretrain"], model=model, training=training, output_dir=tmp_path / "run")
    found = evilm_pretrain.main(config)["results"]
    assert found == {"E-ViLM, before": metrics["pretrain"]["results"]["E-ViLM"]}
    again = evilm_pretrain.main(replace(config, evaluate=tmp_path / "run", output_dir=None))
    assert again["results"] == found


def test_how_much_is_told_of_masked_clips_is_printed(made, tmp_path, capsys):
    configs, metrics = made
    folder = configs["pretrain"].output_dir
    evilm_pretrain.main(parse(["--evaluate", str(folder)], evilm_pretrain.EMBEDDED, evilm_pretrain.REAL, ""))
    said = " ".join(capsys.readouterr().out.split())
    told = metrics["pretrain"]["results"]["E-ViLM"]["masked"]
    words = len(load_evilm(folder).tokenizer)
    for text in (
        "masked words",
        f"{told['words']:.1f} │ {told['patches']:.1f}",
        f"{100 / words:.2g} │ {100 / 12:.2g}",
        "15% of the words hidden",
        "12 codes to guess from",
    ):
        assert text in said, text


def test_of_features_no_chance_is_printed():
    loss = PretrainingLossConfig(mlm_weight=0.0)
    table = masked_table({"E-ViLM": {"patches": 62.34}}, loss, 40, None, "features of blip")
    assert list(table.columns[1].cells) == ["62.3"]
    assert "mean cosine" in table.caption
    assert "words" not in table.caption


def test_a_model_that_was_tuned_before_is_not_called_zero_shot(made, tmp_path):
    configs, metrics = made
    for name in ("retrieval", "qa"):
        model = EViLMModelConfig(str(configs[name].output_dir))
        training = replace(TRAINING, epochs=0)
        config = replace(configs["retrieval"], model=model, training=training, output_dir=tmp_path / name)
        found = evilm_retrieval.main(config)["results"]
        assert set(found) == {"E-ViLM, as it starts"}
        if name == "retrieval":
            assert found["E-ViLM, as it starts"] == metrics["retrieval"]["results"]["E-ViLM"]


def test_a_frame_store_that_cannot_be_made_is_refused_before_anything_is_loaded(made, tmp_path, monkeypatch):
    configs, _ = made
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(EViLMRetrieval, "load_data", lambda *given: pytest.fail("loaded"))
    for place in ("file", "file/store"):
        data = replace(configs["retrieval"].data, frame_store=tmp_path / place)
        with pytest.raises(ValueError, match=rf"^frame_store: expected a folder .*{place}, .*; name another$"):
            evilm_retrieval.main(replace(configs["retrieval"], data=data, output_dir=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_run_outlives_what_it_started_from(made, tmp_path, capsys):
    configs, metrics = made
    run, start = tmp_path / "run", tmp_path / "start"
    shutil.copytree(configs["pretrain"].output_dir, start)
    evilm_retrieval.main(replace(configs["retrieval"], model=EViLMModelConfig(str(start)), output_dir=run))
    shutil.rmtree(start)
    words = ["--evaluate", str(run)]
    config = parse(words, evilm_retrieval.EMBEDDED, evilm_retrieval.REAL, "")
    with pytest.raises(ValueError, match="use --no-baseline"):
        evilm_retrieval.main(config)
    again = evilm_retrieval.main(replace(config, baseline=False))
    assert again["results"]["E-ViLM"] == metrics["retrieval"]["results"]["E-ViLM"]
    assert "equal to the run's metrics.json" in capsys.readouterr().out


def test_pretraining_goes_on_from_a_downstream_run_too(made, tmp_path):
    configs, _ = made
    model = going_on(configs, str(configs["qa"].output_dir))
    metrics = evilm_pretrain.main(replace(configs["pretrain"], model=model, output_dir=tmp_path / "run"))
    assert metrics["training"]["steps"] == 2


def test_longer_texts_than_in_pretraining(made, tmp_path):
    configs, _ = made
    model = replace(configs["retrieval"].model, max_text_length=40)
    metrics = evilm_retrieval.main(replace(configs["retrieval"], model=model, output_dir=tmp_path / "run"))
    assert metrics["protocol"]["max_text_length"] == 40
    assert load_evilm(tmp_path / "run").config.max_text_length == 40


def test_more_frames_than_in_pretraining(made, tmp_path):
    configs, _ = made
    model = replace(configs["retrieval"].model, num_frames=5)
    metrics = evilm_retrieval.main(replace(configs["retrieval"], model=model, output_dir=tmp_path / "run"))
    assert metrics["protocol"]["num_frames"] == 5
    assert load_evilm(tmp_path / "run").config.num_frames == 5


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_two_processes_train_as_one(name, made, tmp_path):
    configs, _ = made
    config = configs[name]
    call(RECIPES[name].main, replace(config, output_dir=tmp_path / "two"), processes=2, output=tmp_path / "said")
    for one, two in zip(steps(config.output_dir), steps(tmp_path / "two"), strict=True):
        assert one == pytest.approx(two, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("name", RECIPES)
def test_help_teaches(name, tmp_path):
    path = Path(RECIPES[name].__file__)
    said = said_by(path.stem, "--help", output=tmp_path / "help")
    for text in ("--data.root", "--data.frame-store", "--epochs", f"recipes/{path.name}"):
        assert text in said
    assert "frozen backbone frame by" not in " ".join(said.split())
    broken = [line for line in path.read_text().split("from dataclasses")[0].splitlines() if line.endswith("\\")]
    assert all(line.strip() in said for line in broken), "a command's line that goes on can be copied"
    if name != "tokenizer":
        told = {"pretrain": "the one before pre-training", "retrieval": "was pre-trained", "qa": "was pre-trained"}
        assert told[name] in " ".join(said.split())
    if name == "pretrain":
        assert "`None` makes a fresh one" in said


def test_the_ablation_runs_each_once_and_tells(made, tmp_path, monkeypatch, capsys):
    configs, _ = made
    for name in ("tokenizer", "pretrain", "retrieval"):
        monkeypatch.setattr(RECIPES[name], "REAL", replace(configs[name], output_dir=None, baseline=True))
    config = evilm_ablation.Config(
        data_root=configs["retrieval"].data.root,
        variants=("no MVM", "pixel VQ", "feature regression"),
        seeds=(0, 1),
        ablation_dir=tmp_path / "ablation",
        markdown=tmp_path / "RESULTS.md",
    )
    tuned, pretrained, tokenizers = evilm_ablation.main(config, "the command")
    assert list(tuned) == list(pretrained) == list(config.variants)
    assert all(len(seeds) == 2 for seeds in tuned.values())
    assert list(tokenizers) == ["pixels, 12 codes"]
    page = (tmp_path / "RESULTS.md").read_text()
    for text in ("the command", "feature regression", "pixels, 12 codes", " ± "):
        assert text in page
    for name in ("tokenizer", "pretrain", "retrieval"):
        monkeypatch.setattr(RECIPES[name], "main", lambda config: pytest.fail("ran again"))
    assert evilm_ablation.main(config, "the command") == (tuned, pretrained, tokenizers)


def test_the_ablation_says_what_is_clear_of_the_spread():
    def result(r1, order):
        return {"contrastive": {"t2v_r1": r1}, "order_accuracy": {"contrastive": order}}

    tuned = {
        "no MVM": [result(50.0, 80.0), result(55.0, 90.0), result(60.0, 70.0)],
        "semantic VQ": [result(60.0, 81.0), result(65.5, 80.0), result(69.5, 85.0)],
    }
    said = evilm_ablation.differences(tuned)
    assert "t2v R@1, ITC: no MVM -10.0 ± 1.2. order, ITC: no MVM -2.0 ± " in said
    assert said.endswith("Clear of zero: no MVM (t2v R@1, ITC).")
    assert evilm_ablation.differences({name: seeds[:2] for name, seeds in tuned.items()}) == ""
    assert evilm_ablation.differences({"no MVM": tuned["no MVM"]}) == ""
    even = {"no MVM": tuned["semantic VQ"], "semantic VQ": [result(r1, 82.0) for r1 in (58.0, 66.0, 70.0)]}
    assert evilm_ablation.differences(even).endswith("None of these differences is clear of zero.")
