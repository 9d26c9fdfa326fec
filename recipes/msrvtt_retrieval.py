"""Text-video retrieval on MSR-VTT: LiteVL adapters on a frozen BLIP, trained and evaluated on the task itself.

    accelerate launch recipes/msrvtt_retrieval.py
    accelerate launch recipes/msrvtt_retrieval.py --data.root /data/msrvtt --backbone Salesforce/blip-itm-base-coco
    python recipes/msrvtt_retrieval.py --data.root /data/msrvtt --backbone model_base_retrieval_coco.pth --epochs 0
    python recipes/msrvtt_retrieval.py adapter:st-adapter --adapter.width 64     # another adapter family
    python recipes/msrvtt_retrieval.py --evaluate runs/msrvtt_retrieval-...

With no arguments it runs on the embedded corpus (rendered on first use) with the small BLIP that ships with litevl.
Half of that corpus can only be told apart by the order of frames, so the tables it ends with set frozen frame-average
BLIP, which cannot see order, beside LiteVL. `--epochs 0` is zero-shot evaluation of the unadapted BLIP as BLIP's own
video evaluation does it: 8 frames, frame-wise tokens, mean of frame embeddings, top 128 re-ranked by ITM + ITC.

Per seed, in 4 minutes on two idle cores, of the last epoch (`--select-on last --seed N`), by ITC and re-ranked (*):
order, how often a clip's caption scores above that of the same clip reversed (chance 50), and text-to-video R@1. They
were made before clips took the fused attention, whose rounding moves a run as a seed does:

                         order  order*     R@1    R@1*
    frame average         50.0    50.0    13.0    25.0
    LiteVL, seed 0        98.0    99.0    68.5    65.5
    LiteVL, seed 1        97.0    97.0    69.5    66.0
    LiteVL, seed 2        99.0    97.0    71.5    69.0
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
    RetrievalDataConfig(similar=8),
    RetrievalLossConfig(vtm_weight=0.1),
)
"""The defaults on the embedded corpus. What each setting is worth there is measured in recipes/RESULTS.md: the time
code decides about the order of frames; batches of look-alikes may add a little to R@1."""

MSRVTT = RetrievalConfig(
    RetrievalModelConfig("Salesforce/blip-itm-base-coco"),
    TrainingConfig(epochs=5, batch_size=64, lr=1e-4),
    EvaluationConfig(k=128),
    RetrievalDataConfig(),
)
"""The defaults with --data.root. Not tuned: no BLIP weights and no MSR-VTT were at hand where they were written."""


def main(config: RetrievalConfig, command: str | None = None) -> dict[str, Any]:
    """Trains and evaluates, or evaluates a finished run again; what `metrics.json` holds (see `run_retrieval`)."""
    return run_retrieval(config, "msrvtt_retrieval", command)


if __name__ == "__main__":
    run_recipe("msrvtt_retrieval", main, EMBEDDED, MSRVTT, __doc__)
