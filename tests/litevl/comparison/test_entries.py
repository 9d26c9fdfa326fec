"""Which runs are one model, what it is called, and which can't be compared."""

import json
from dataclasses import replace

import pytest
from finished_runs import change, config_of, write_run

from litevl.adapters import AIMConfig, LiteVLConfig
from litevl.comparison.entries import make_entries
from litevl.comparison.protocol import check_protocol, require_one_task
from litevl.comparison.runs import find_runs
from litevl.training import RetrievalModelConfig

MODEL = RetrievalModelConfig(adapter=LiteVLConfig(num_frames=6))


def entries(*given):
    runs = find_runs(given)
    task = require_one_task(runs)
    made = make_entries(runs)
    return made, check_protocol(made, task)


def names(*given):
    return [entry.name for entry in entries(*given)[0]]


def pair(tmp_path, task="retrieval", **protocol):
    """Two runs, the second with another protocol."""
    write_run(tmp_path / "a", config_of(task, 0), task=task)
    return tmp_path / "a", write_run(tmp_path / "b", config_of(task, 1), task=task, **protocol)


class TestGroups:
    def test_seeds_of_one_model_are_one_entry(self, tmp_path):
        for seed in range(3):
            config = config_of(seed=seed, baseline=seed == 0, evaluation={"workers": seed})
            write_run(tmp_path / f"seed{seed}", config, 50 + seed, frozen=20.0 if seed == 0 else None)
        (frozen, litevl), notes = entries(tmp_path)
        assert (frozen.name, frozen.frozen, frozen.seeds) == ("frozen frame average", True, ())
        assert (litevl.name, litevl.frozen, litevl.seeds) == ("LiteVL", False, (0, 1, 2))
        assert [each["contrastive"]["t2v_r1"] for each in litevl.results] == [50, 51, 52]
        assert notes == []

    def test_names_tell_in_what_models_differ_from_most(self, tmp_path):
        models = {
            "plain": MODEL,
            "copied": replace(MODEL, heads="copied"),
            "scaling": replace(MODEL, adapter=LiteVLConfig(num_frames=6, scaling="none")),
            "whole": replace(MODEL, train="all"),
        }
        for name, model in models.items():
            write_run(tmp_path / name, config_of(model=model))
        write_run(tmp_path / "z-aim", config_of(model=replace(MODEL, adapter=AIMConfig(num_frames=6))), title="AIM")
        assert names(tmp_path) == [
            "LiteVL, heads copied",
            "LiteVL",
            "LiteVL, adapter scaling none",
            "LiteVL, whole model trained",
            "AIM",
        ]

    def test_where_two_differ_both_are_told(self, tmp_path):
        write_run(tmp_path / "a", config_of(model=MODEL))
        write_run(tmp_path / "b", config_of(model=replace(MODEL, heads="copied")))
        assert names(tmp_path) == ["LiteVL, heads frozen", "LiteVL, heads copied"]

    def test_what_pretraining_alone_gives_is_an_entry_too(self, tmp_path):
        folder = write_run(tmp_path / "a", config_of(), title="E-ViLM", frozen=10.0)
        change(folder, lambda m: m["results"].update({"E-ViLM, zero-shot": m["results"].pop("frame average")}))
        change(folder, lambda m: m["results"].update({"E-ViLM": m["results"].pop("E-ViLM")}))
        made, _ = entries(folder)
        assert [(entry.name, entry.frozen) for entry in made] == [("E-ViLM, zero-shot", True), ("E-ViLM", False)]

    def test_a_run_that_trained_nothing_has_no_trained_entry(self, tmp_path):
        config = config_of(training={"epochs": 0})
        folder = write_run(tmp_path / "a", config, trained=None, frozen=10.0)
        assert names(folder) == ["frozen frame average"]
        assert names(f"zero-shot={folder}") == ["zero-shot"]

    def test_a_user_names_a_model(self, tmp_path):
        for seed in range(2):
            write_run(tmp_path / "runs" / f"seed{seed}", config_of(seed=seed))
        (entry,), _ = entries(f"mine={tmp_path / 'runs' / 'seed*'}", tmp_path / "runs" / "seed0")
        assert (entry.name, entry.seeds) == ("mine", (0, 1))

    def test_one_name_for_two_models_is_refused(self, tmp_path):
        write_run(tmp_path / "a", config_of())
        write_run(tmp_path / "b", config_of(model=replace(MODEL, heads="copied")))
        message = r"mine: .* one model, got several settings: .*a, .*b; they differ in model.heads \(frozen, copied\);"
        with pytest.raises(ValueError, match=message):
            entries(f"mine={tmp_path}")
        with pytest.raises(ValueError, match="expected one name for a run, got 'x' and 'y'"):
            entries(f"x={tmp_path / 'a'}", f"y={tmp_path / 'a'}")

    def test_a_name_before_only_one_of_its_runs_is_refused_with_the_cause(self, tmp_path):
        a, b, c = (write_run(tmp_path / name, config_of(seed=seed)) for seed, name in enumerate("abc"))
        message = f"LiteVL: expected the name before each of its runs, got {b}, {c} with the settings of {a} and"
        with pytest.raises(ValueError, match="put LiteVL= before each, or once before a pattern") as refused:
            entries(f"LiteVL={a}", b, c)
        assert str(refused.value).startswith(message)
        assert names(*(f"LiteVL={each}" for each in (a, b, c))) == ["LiteVL"]

    @pytest.mark.parametrize(("given", "lacks"), [("A=", "folder after"), ("=runs/x", "name before"), (" = ", "name")])
    def test_half_a_name_is_refused(self, tmp_path, given, lacks):
        with pytest.raises(ValueError, match=rf"{given}: expected NAME=FOLDER .* got one without a {lacks}"):
            entries(given, write_run(tmp_path / "a", config_of()))

    def test_equal_data_in_two_folders_is_one_model(self, tmp_path):
        digest = {"data_digest": {"train": "t", "test": "e"}}
        for seed, root in enumerate(("/data/one", "/data/two")):
            places = {"root": root, "videos": root, "test_file": f"{root}/test.csv", "similar": 1}
            write_run(tmp_path / f"{seed}", config_of(seed=seed, data=places), **digest)
        (entry,), notes = entries(tmp_path)
        assert (entry.name, entry.seeds, notes) == ("LiteVL", (0, 1), [])
        for seed in range(2):
            change(tmp_path / f"{seed}", lambda metrics: metrics["protocol"].pop("data_digest"))
        assert len(entries(tmp_path)[0]) == 2, "older runs do not say that it is the same data"

    def test_a_digest_from_one_run_on_splits_no_model(self, tmp_path):
        data = {"root": "/data/one"}
        write_run(tmp_path / "old", config_of(seed=0, data=data))
        write_run(tmp_path / "new", config_of(seed=1, data=data), data_digest={"train": "t", "test": "e"})
        (entry,), (note,) = entries(tmp_path)
        assert entry.seeds == (1, 0)
        assert f"what the splits held (data_digest) is not said by {tmp_path / 'old'}" in note

    def test_what_a_start_was_trained_on_tells_models_apart_by_what_it_held(self, tmp_path):
        for name, digest in (("x", "d0"), ("y", "d0"), ("z", "d1")):
            start = config_of(data={"root": f"/data/{name}"})
            write_run(tmp_path / name, start, data_digest={"train": digest})
            config = config_of(seed=ord(name), model=MODEL)
            config["model"] = {"start": str(tmp_path / name)}
            write_run(tmp_path / "runs" / name, config, title="E-ViLM")
        assert names(tmp_path / "runs") == ["E-ViLM, start data digest d0", "E-ViLM, start data digest d1"]

    def test_what_changes_no_result_tells_nothing_in_the_tokenizer_of_a_start_either(self, tmp_path):
        for seed in range(2):
            tokenizer = config_of(seed=seed, data={"frame_store": f"/store/{seed}"})
            write_run(tmp_path / f"vq{seed}", tokenizer)
            start = {**config_of(seed=seed), "model": {"tokenizer": str(tmp_path / f"vq{seed}")}}
            write_run(tmp_path / f"pre{seed}", start)
            config = {**config_of(seed=seed), "model": {"start": str(tmp_path / f"pre{seed}")}}
            write_run(tmp_path / "runs" / str(seed), config, title="E-ViLM")
        assert names(tmp_path / "runs") == ["E-ViLM"]

    def test_a_run_counts_once(self, tmp_path):
        write_run(tmp_path / "a", config_of())
        write_run(tmp_path / "copy", config_of(output_dir="elsewhere"))
        with pytest.raises(
            ValueError, match=r"copy: has the settings and the seed \(0\) of .*a; a run that counts twice"
        ):
            entries(tmp_path)
        assert names(tmp_path / "a", tmp_path / "a") == ["LiteVL"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("task", "key", "value", "first"),
        [
            ("retrieval", "dataset", "MSR-VTT", "embedded corpus"),
            ("retrieval", "sampling", "random", "midpoint"),
            ("retrieval", "test_split", "1k-A", "full"),
            ("retrieval", "train_split", "9k", "full"),
            ("retrieval", "caption_mode", "many", "one"),
            ("question answering", "answers", 1500, 3),
            ("captioning", "tokenizer", "PTB", "plain"),
        ],
    )
    def test_another_protocol_is_named(self, tmp_path, task, key, value, first):
        a, b = pair(tmp_path, task, **{key: value})
        expected = f"{b}: not on the same data and protocol as {a}: {key}: expected {first!r}, got {value!r}"
        with pytest.raises(ValueError, match="not on the same data") as refused:
            entries(a, b)
        assert str(refused.value).startswith(expected)

    @pytest.mark.parametrize(
        ("edit", "message"),
        [
            (lambda m: m["results"]["LiteVL"].update(k=128), "k: expected 32, got 128"),
            (lambda m: m["results"]["LiteVL"].update(coverage="coverage 199/200"), "coverage of test: expected 'cov"),
            (lambda m: m["results"]["LiteVL"]["reranked"].update(t2v_queries=9), "t2v_queries: expected 200, got 9"),
            (
                lambda m: m["protocol"]["coverage"].update(train="coverage 9/9"),
                "coverage.train: expected 'coverage 1000",
            ),
        ],
    )
    def test_other_queries_are_named(self, tmp_path, edit, message):
        a, b = pair(tmp_path)
        change(b, edit)
        with pytest.raises(ValueError, match=message):
            entries(a, b)

    def test_another_task_is_named(self, tmp_path):
        a = write_run(tmp_path / "a", config_of())
        b = write_run(tmp_path / "b", config_of("question answering"), task="question answering")
        with pytest.raises(ValueError, match="task: expected 'retrieval', got 'question answering'"):
            entries(a, b)

    def test_another_list_of_answers_is_named(self, tmp_path):
        a, b = pair(tmp_path, "question answering")
        stored = {"answers": {"answers": ["red", "blue"], "source": "", "notes": []}}
        (a / "adapter_config.json").write_text(json.dumps(stored))
        (b / "evilm.json").write_text(json.dumps({"answers": {"answers": ["red", "green"]}}))
        with pytest.raises(
            ValueError, match=r"list of answers: expected .*1 of its own \(blue\).*1 of its own \(green\)"
        ):
            entries(a, b)
        (b / "evilm.json").write_text(json.dumps({"answers": stored["answers"]}))
        assert len(entries(a, b)[0]) == 1

    def test_what_an_older_run_does_not_say_is_noted(self, tmp_path):
        a, b = pair(tmp_path, caption_mode=...)
        (note,) = entries(a, b)[1]
        assert note == f"caption_mode is not said by {b}; taken as that of the others, 'one'"

    def test_what_belongs_to_the_model_may_differ(self, tmp_path):
        a, b = pair(tmp_path, num_frames=4, image_size=224, backbone_source="elsewhere", backbone_fingerprint="b1")
        assert names(a, b) == ["LiteVL"]

    @pytest.mark.parametrize("split", ["test", "train"])
    @pytest.mark.parametrize("seed", [0, 1])
    def test_other_data_of_the_same_size_is_refused(self, tmp_path, split, seed):
        digest = {"train": "t0", "test": "e0"}
        a = write_run(tmp_path / "a", config_of(seed=0, data={"root": "/data/a"}), data_digest=digest)
        other = config_of(seed=seed, data={"root": "/data/b"})
        b = write_run(tmp_path / "b", other, data_digest={**digest, split: "other"})
        expected = f"{b}: not on the same data and protocol as {a}: data_digest.{split} (of the"
        with pytest.raises(ValueError, match=f"expected '{digest[split]}', got 'other'") as refused:
            entries(a, b)
        assert str(refused.value).startswith(expected)

    def test_other_validation_videos_are_noted(self, tmp_path):
        for seed in range(2):
            write_run(tmp_path / f"{seed}", config_of(seed=seed), data_digest={"test": "e", "val": f"v{seed}"})
        assert "epochs were selected on several sets of validation videos" in entries(tmp_path)[1]

    def test_what_is_found_beside_runs_of_a_task_is_left_out_and_named(self, tmp_path):
        run = write_run(tmp_path / "runs/a", config_of())
        for name, task in (("pre", "pre-training"), ("vq", "VQ tokenizer")):
            write_run(tmp_path / "runs" / name, config_of(), task="retrieval")
            change(tmp_path / "runs" / name, lambda metrics, task=task: metrics["protocol"].update(task=task))
        write_run(tmp_path / "runs/pre-old", config_of(), mvm_target="codes of embedded")
        (tmp_path / "runs" / "empty").mkdir()
        before = tmp_path / "runs/pre"
        for given in ([tmp_path / "runs"], [tmp_path / "runs/*"], sorted((tmp_path / "runs").iterdir())):
            told = []
            assert [found.folder for found in find_runs(given, told.append)] == [run]
            assert len(told) == 1
            assert all(str(tmp_path / "runs" / name) in told[0] for name in ("pre,", "pre-old", "vq"))
            assert "left out, as no run of a downstream task" in told[0]
        for given in ([before], [run, f"mine={before}"]):
            with pytest.raises(ValueError, match="got pre-training; name the run of a downstream task"):
                find_runs(given)
        with pytest.raises(ValueError, match="expected at least one run of a downstream task, got none in"):
            find_runs([tmp_path / "runs/[pv]*"])

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            *(("config.json", content) for content in ("[1]", '"text"')),
            *(("metrics.json", content) for content in ("[1]", '{"results": "none"}', '{"protocol": [1]}')),
        ],
    )
    def test_files_that_hold_something_else_are_refused(self, tmp_path, name, content):
        folder = write_run(tmp_path / "a", config_of())
        (folder / name).write_text(content)
        with pytest.raises(ValueError, match=rf"a/{name}: expected "):
            find_runs([folder])

    def test_an_unfinished_run_is_refused(self, tmp_path):
        folder = write_run(tmp_path / "a", config_of())
        (folder / "metrics.json").unlink()
        with pytest.raises(ValueError, match=r"a: expected a finished run, got one without metrics.json; .*--resume"):
            entries(tmp_path)

    def test_what_is_no_run_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="at least one run"):
            entries()
        with pytest.raises(ValueError, match="nothing is there"):
            entries(tmp_path / "nowhere*")
        with pytest.raises(ValueError, match=r"config.json is missing"):
            entries(tmp_path)
        folder = write_run(tmp_path / "a", config_of())
        change(folder, lambda metrics: metrics.update(results={"loss": {}}))
        with pytest.raises(ValueError, match="results of retrieval, question answering or captioning"):
            entries(folder)
