from pathlib import Path

import forked_runs
import pytest
from outcome import outcome
from small_runs import answering_backbone, backbone, corpus, fresh_accelerate  # noqa: F401


@pytest.fixture(scope="session")
def backbone_with_dropout(backbone, tmp_path_factory) -> Path:  # noqa: F811
    """The small BLIP, its text encoder with dropout."""
    import json
    import shutil

    folder = tmp_path_factory.mktemp("backbone") / "blip"
    shutil.copytree(backbone, folder)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def words(corpus, backbone_with_dropout) -> list[object]:  # noqa: F811
    """Two epochs of four steps of two micro-batches, with everything that has a state of its own."""
    return [
        *("--data.root", corpus, "--data.train-split", "full", "--data.test-split", "full", "--data.workers", 0),
        *("--backbone", backbone_with_dropout, "--adapter.num-frames", 3, "--train", "adapters+lora"),
        *("--epochs", 2, "--batch-size", 4, "--accumulation", 2, "--lr", 1e-3, "--warmup", 0.3, "--precision", "no"),
        *("--loss.momentum", 0.9, "--loss.queue-size", 12, "--no-baseline"),
        *("--evaluation.k", 4, "--evaluation.workers", 0, "--evaluation.batch-size", 2),
    ]


@pytest.fixture(scope="session")
def uninterrupted(words, tmp_path_factory):
    """What such a run leaves that nothing befell, by the number of its processes."""
    made: dict[int, dict] = {}

    def of(processes: int = 1):
        if processes not in made:
            folder = tmp_path_factory.mktemp("uninterrupted") / "run"
            ended = forked_runs.run(
                "msrvtt_retrieval",
                [*words, "--output-dir", folder],
                processes=processes,
                output=folder.with_name("output"),
            )
            assert ended.codes == [0] * processes, ended.said
            made[processes] = outcome(folder)
        return made[processes]

    return of


@pytest.fixture
def run(words, tmp_path):
    """Runs the recipe in `tmp_path / "run"` with a fault, or with `--resume` goes on with it.

    `more` are further words, `instead` says what stands in place of some.
    """

    def one(fault=None, more=(), resume=False, processes=1, instead=None, **options):
        words_of_it = ["--resume"] if resume else [(instead or {}).get(word, word) for word in words]
        start = options.pop("start", forked_runs.run)
        output = tmp_path / f"output{len(list(tmp_path.glob('output*')))}"
        return start(
            "msrvtt_retrieval",
            [*words_of_it, *more, "--output-dir", tmp_path / "run"],
            fault,
            processes=processes,
            output=output,
            **options,
        )

    return one
