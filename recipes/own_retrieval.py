"""Text-video retrieval on your own videos: a table of videos and captions is all it needs.

    accelerate launch recipes/own_retrieval.py
    accelerate launch recipes/own_retrieval.py --data.root /data/mine --backbone Salesforce/blip-itm-base-coco
    accelerate launch recipes/own_retrieval.py --data.root /data/mine --data.train-file a.csv --data.test-file b.jsonl
    accelerate launch recipes/own_retrieval.py --data.root /data/mine --data.caption-mode many
    python recipes/own_retrieval.py --evaluate runs/own_retrieval-...

The folder holds the videos (or --data.videos does) and train, val and test as csv, tsv, jsonl or json; val may be left
out, and then the last epoch counts. A row is a video and a caption; several rows of a video are several captions:

    video,caption                              {"video": "a/dog.mp4", "caption": "a dog catches a frisbee"}
    a/dog.mp4,a dog catches a frisbee          {"video": "a/dog.mp4", "caption": ["a dog runs", "it jumps"]}
    a/dog.mp4,"a dog runs, and jumps"          {"video": "tv.mp4", "caption": "news", "start": 3, "end": 9.5}

`start` and `end`, in seconds, make the row's clip a part of its file. One table with a column `split` (train, val or
test) will do as well. --data.caption-mode says how the captions of a test video are queries: `one`, the default here,
where it has but one; `many`, each is a query of its own; `paragraph`, all of them joined are one.

With no arguments it runs on the embedded corpus's own/train.csv, val.csv and test.csv, with the small BLIP that ships
with litevl. They say what its MSR-VTT files say, and a test sees to it that losses and results are the same: the
figures are those of recipes/msrvtt_retrieval.py, which README has, in 4 minutes on two idle cores.
"""

from typing import Any

from litevl.adapters import LiteVLConfig, PoolingConfig
from litevl.data.retrieval import RetrievalDataConfig
from litevl.evaluation.retrieval import EvaluationConfig
from litevl.losses import RetrievalLossConfig
from litevl.tasks import RetrievalConfig, run_recipe, run_retrieval
from litevl.training import RetrievalModelConfig, TrainingConfig

EMBEDDED = RetrievalConfig(
    RetrievalModelConfig(
        adapter=LiteVLConfig(num_frames=6, time_embedding="sinusoidal"),
        pooling=PoolingConfig(tau=1.0),
    ),
    TrainingConfig(epochs=12, batch_size=32, lr=1e-3),
    EvaluationConfig(k=32, batch_size=50, pair_batch=256),
    RetrievalDataConfig(dataset="own", caption_mode="one", similar=8),
    RetrievalLossConfig(vtm_weight=0.1),
)
"""The defaults on the embedded corpus: those of recipes/msrvtt_retrieval.py."""

OWN = RetrievalConfig(
    RetrievalModelConfig("Salesforce/blip-itm-base-coco"),
    TrainingConfig(epochs=5, batch_size=64, lr=1e-4),
    EvaluationConfig(k=128),
    RetrievalDataConfig(dataset="own", caption_mode="one"),
)
"""The defaults with --data.root: those of recipes/msrvtt_retrieval.py, to be tuned on your own validation videos."""


def main(config: RetrievalConfig, command: str | None = None) -> dict[str, Any]:
    """Trains and evaluates, or evaluates a finished run again; what `metrics.json` holds (see `run_retrieval`)."""
    return run_retrieval(config, "own_retrieval", command)


if __name__ == "__main__":
    run_recipe("own_retrieval", main, EMBEDDED, OWN, __doc__)
