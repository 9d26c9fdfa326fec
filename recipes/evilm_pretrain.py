r"""Pre-train E-ViLM on videos with captions: masked video modelling on semantic codes, MLM, VTM and VTC.

    accelerate launch recipes/evilm_pretrain.py
    accelerate launch recipes/evilm_pretrain.py --data.root /data/msrvtt --tokenizer runs/evilm_tokenizer-... \
        --vision-init facebook/deit-tiny-patch16-224 --text-init microsoft/MiniLM-L12-H384-uncased
    python recipes/evilm_pretrain.py --epochs 0                           # measure what it would start from
    python recipes/evilm_pretrain.py --loss.mvm-weight 0                  # each part of the objective can be left out
    python recipes/evilm_pretrain.py --target features --teacher-source embedded     # regress the teacher's features
    python recipes/evilm_pretrain.py --evaluate runs/evilm_pretrain-...

Any captions that the retrieval recipes read will do. A clean pass contrasts and matches videos with captions; a masked
pass hides 40% of the patches, half of the clips' in blocks of space and time, and 15% of the words, and tells both from
what is left of the two. The labels of patches come from the whole clip, by the tokenizer of recipes/evilm_tokenizer.py.

The run folder holds evilm.json, evilm.safetensors and vocab.txt, from which recipes/evilm_retrieval.py and
recipes/evilm_qa.py start (`--start FOLDER`), and metrics: zero-shot retrieval on the test split, and how much is told
of masked clips. E-ViLM's paper (arXiv 2311.17267) is public as an abstract, without code: what it leaves open is ours
and is listed in the README.
"""

from typing import Any

from litevl.data.retrieval import RetrievalDataConfig
from litevl.evaluation.retrieval import EvaluationConfig
from litevl.tasks import run_recipe
from litevl.tasks.evilm_pretraining import EViLMPretrainingConfig, run_evilm_pretraining
from litevl.tasks.pretrained_model import PretrainedModelConfig
from litevl.training import TrainingConfig

EMBEDDED = EViLMPretrainingConfig(
    PretrainedModelConfig("embedded", teacher_source="embedded"),
    TrainingConfig(epochs=20, batch_size=32, lr=1e-3, weight_decay=1e-3, beta2=0.98, select_on="last"),
    EvaluationConfig(k=32, batch_size=50, pair_batch=256),
    RetrievalDataConfig(similar=8),
)
"""The defaults on the embedded corpus."""

REAL = EViLMPretrainingConfig(
    PretrainedModelConfig(tokenizer=None),
    TrainingConfig(epochs=10, batch_size=64, lr=1e-4, weight_decay=1e-3, beta2=0.98, select_on="last"),
    EvaluationConfig(k=128),
    RetrievalDataConfig(),
)
"""The defaults with --data.root: E-ViLM's relatives' numbers. Not tuned: no such corpus was at hand. The
tokenizer has to be named."""


def main(config: EViLMPretrainingConfig, command: str | None = None) -> dict[str, Any]:
    """Pre-trains, or evaluates a finished run again; what `metrics.json` holds (see `run_task`)."""
    return run_evilm_pretraining(config, "evilm_pretrain", command)


if __name__ == "__main__":
    run_recipe("evilm_pretrain", main, EMBEDDED, REAL, __doc__)
