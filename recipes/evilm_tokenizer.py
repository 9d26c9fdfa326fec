r"""Train E-ViLM's semantic VQ tokenizer: a small ViT that gives each patch a code, taught by a frozen image encoder.

    accelerate launch recipes/evilm_tokenizer.py
    accelerate launch recipes/evilm_tokenizer.py --data.root /data/msrvtt --teacher-source Salesforce/blip-itm-base-coco
    python recipes/evilm_tokenizer.py --data.root /data/msrvtt --teacher clip \
        --teacher-source openai/clip-vit-base-patch16
    python recipes/evilm_tokenizer.py --teacher pixels                    # for the ablation: codes of what is seen
    python recipes/evilm_tokenizer.py --evaluate runs/evilm_tokenizer-...

The codes are the labels of recipes/evilm_pretrain.py. They are "semantic" by their teacher, the vision encoder of the
BLIP that LiteVL adapts (or a CLIP), whose features the tokenizer says again from codes alone, as BEiT v2's does (arXiv
2208.06366). Any videos that the retrieval recipes read will do; their captions play no part.

The run folder holds vq_tokenizer.json and vq_tokenizer.safetensors, and the metrics: distance to the teacher, share of
codes in use, perplexity; a tokenizer that uses few codes has failed. What its codes look at is drawn by
`python -m litevl.plots codes runs/evilm_tokenizer-... --save codes.png`.
"""

from dataclasses import replace
from typing import Any

from litevl.data.retrieval import RetrievalDataConfig
from litevl.evilm import VQTokenizerConfig
from litevl.tasks import run_recipe
from litevl.tasks.vq_tokenizer import TokenizerEvaluationConfig, TokenizerTrainingConfig, run_tokenizer_training
from litevl.training import TrainingConfig

EMBEDDED = TokenizerTrainingConfig(
    VQTokenizerConfig(
        image_size=48,
        patch_size=12,
        width=64,
        layers=3,
        heads=2,
        codes=512,
        code_dim=16,
        teacher_source="embedded",
    ),
    TrainingConfig(epochs=12, batch_size=32, lr=1e-3, beta2=0.98, select_on="last"),
    num_frames=6,
    evaluation=TokenizerEvaluationConfig(batch_size=50),
)
"""The defaults on the embedded corpus."""

REAL = TokenizerTrainingConfig(
    VQTokenizerConfig(),
    TrainingConfig(epochs=10, batch_size=64, lr=1e-3, beta2=0.98, select_on="last"),
    evaluation=TokenizerEvaluationConfig(),
    data=RetrievalDataConfig(),
)
"""The defaults with --data.root. Not tuned: no BLIP weights and no such videos were at hand where they were written."""


def main(config: TokenizerTrainingConfig, command: str | None = None) -> dict[str, Any]:
    """Trains, or measures a finished run again; what `metrics.json` holds (see `run_task`)."""
    return run_tokenizer_training(replace(config, baseline=False), "evilm_tokenizer", command)


if __name__ == "__main__":
    run_recipe("evilm_tokenizer", main, EMBEDDED, REAL, __doc__)
