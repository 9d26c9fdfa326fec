r"""Text-video retrieval by E-ViLM, the compact baseline, on MSR-VTT: the same data, metrics and protocol as LiteVL's.

    accelerate launch recipes/evilm_retrieval.py
    accelerate launch recipes/evilm_retrieval.py --data.root /data/msrvtt --start runs/evilm_pretrain-...
    python recipes/evilm_retrieval.py --data.root /data/didemo --data.dataset didemo --max-text-length 64 \
        --start runs/evilm_pretrain-...
    python recipes/evilm_retrieval.py --evaluate runs/evilm_retrieval-...

Retrieval compares embeddings (VTC) and re-ranks the best by matching (VTM); all of the model is trained, from the one
that recipes/evilm_pretrain.py made. With no arguments that is the small one that ships, on the embedded corpus.
"""

from typing import Any

from litevl.data.retrieval import RetrievalDataConfig
from litevl.evaluation.retrieval import EvaluationConfig
from litevl.losses import RetrievalLossConfig
from litevl.tasks import run_recipe
from litevl.tasks.evilm import EViLMModelConfig, EViLMRetrievalConfig, run_evilm_retrieval
from litevl.training import TrainingConfig

EMBEDDED = EViLMRetrievalConfig(
    EViLMModelConfig(),
    TrainingConfig(epochs=12, batch_size=32, lr=1e-3, weight_decay=1e-3, beta2=0.98),
    EvaluationConfig(k=32, batch_size=50, pair_batch=256),
    RetrievalDataConfig(similar=8),
    RetrievalLossConfig(vtm_weight=0.1),
)
"""The defaults on the embedded corpus."""

REAL = EViLMRetrievalConfig(
    EViLMModelConfig(start=None),
    TrainingConfig(epochs=5, batch_size=64, lr=5e-5, weight_decay=1e-3, beta2=0.98),
    EvaluationConfig(k=128),
    RetrievalDataConfig(),
)
"""The defaults with --data.root, where the start has to be named. Not tuned: no pre-trained E-ViLM and no MSR-VTT were
at hand."""


def main(config: EViLMRetrievalConfig, command: str | None = None) -> dict[str, Any]:
    """Trains and evaluates, or evaluates a finished run again; what `metrics.json` holds (see `run_task`)."""
    return run_evilm_retrieval(config, "evilm_retrieval", command)


if __name__ == "__main__":
    run_recipe("evilm_retrieval", main, EMBEDDED, REAL, __doc__)
