"""Text-video retrieval on MSVD: a video has many captions, each is a query, and any of them finds it.

    accelerate launch recipes/msvd_retrieval.py
    accelerate launch recipes/msvd_retrieval.py --data.root /data/msvd --backbone Salesforce/blip-itm-base-coco
    accelerate launch recipes/msvd_retrieval.py --data.root /data/msvd_data --data.videos /data/YouTubeClips
    python recipes/msvd_retrieval.py --evaluate runs/msvd_retrieval-...

With --data.root, the annotations are found as CLIP4Clip has them (train_list.txt, val_list.txt, test_list.txt with
raw-captions.pkl), as X-Pool (captions_msvd.json in its place), LAVIS and Singularity. Text to video, every caption of a
test video is a query of its own (27,763 of them); video to text, the best of a video's captions counts. Joining them
would make another, far easier task, and is refused.

With no arguments it runs on the embedded corpus, whose clips then have each of their wordings as a caption, with the
small BLIP that ships with litevl. Half of them can only be told apart by the order of frames.

Per seed, in 7 minutes and more of one thread on two cores that other work shared, by ITC and re-ranked (*): order, how
often a clip's text scores above that of the same clip reversed (chance 50), and text-to-video R@1, in percent:

                         order  order*     R@1    R@1*
    frame average         50.0    50.0    13.9    25.8
    LiteVL, seed 0        98.0    99.0    71.4    67.1
    LiteVL, seed 1        97.0    98.0    69.4    63.0
    LiteVL, seed 2        98.0    96.0    69.1    65.2
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
    RetrievalDataConfig(dataset="msvd", similar=8),
    RetrievalLossConfig(vtm_weight=0.1),
)
"""The defaults on the embedded corpus: those of recipes/msrvtt_retrieval.py."""

MSVD = RetrievalConfig(
    RetrievalModelConfig("Salesforce/blip-itm-base-coco"),
    TrainingConfig(epochs=5, batch_size=64, lr=1e-4),
    EvaluationConfig(k=128),
    RetrievalDataConfig(dataset="msvd"),
)
"""The defaults with --data.root: those of recipes/msrvtt_retrieval.py. Not tuned: no BLIP weights and no MSVD were at
hand where they were written."""


def main(config: RetrievalConfig, command: str | None = None) -> dict[str, Any]:
    """Trains and evaluates, or evaluates a finished run again; what `metrics.json` holds (see `run_retrieval`)."""
    return run_retrieval(config, "msvd_retrieval", command)


if __name__ == "__main__":
    run_recipe("msvd_retrieval", main, EMBEDDED, MSVD, __doc__)
