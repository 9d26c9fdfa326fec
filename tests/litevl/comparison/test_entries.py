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
        with pytest.raises(ValueError, match=r"mine: expected the runs of one model, got several settings: .*a.*b"):
            entries(f"mine={tmp_path}")
        with pytest.raises(ValueError, match="expected one name for a run, got 'x' and 'y'"):
            entries(f"x={tmp_path / 'a'}", f"y={tmp_path / 'a'}")

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
