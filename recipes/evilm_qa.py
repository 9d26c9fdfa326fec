"""Video question answering by E-ViLM, the compact baseline: a classifier over the list of training answers.

    accelerate launch recipes/evilm_qa.py
    accelerate launch recipes/evilm_qa.py --data.root /data/msrvtt_qa --start runs/evilm_pretrain-...
    python recipes/evilm_qa.py --data.root /data/msvd_qa --data.dataset msvd --start runs/evilm_pretrain-...
    python recipes/evilm_qa.py --evaluate runs/evilm_qa-...

The data, the list of answers, its ceiling and the metrics are those of recipes/msrvtt_qa.py with `--head classifier`: a
test question whose answer is not in the list counts as wrong. All of the model is trained, from the one that
recipes/evilm_pretrain.py made; with no arguments that is the small one that ships, on the embedded corpus.
"""

from typing import Any

from litevl.data.question_answering import QuestionDataConfig
from litevl.evaluation.answering import QuestionEvaluationConfig
from litevl.losses import QuestionLossConfig
from litevl.tasks import run_recipe
from litevl.tasks.evilm import EViLMModelConfig, EViLMQuestionAnsweringConfig, run_evilm_answering
from litevl.training import TrainingConfig

EMBEDDED = EViLMQuestionAnsweringConfig(
    EViLMModelConfig(),
    TrainingConfig(epochs=12, batch_size=32, lr=1e-3, weight_decay=1e-3, beta2=0.98),
    QuestionEvaluationConfig(batch_size=50, question_batch=256),
    loss=QuestionLossConfig(label_smoothing=0.0),
)
"""The defaults on the embedded corpus."""

REAL = EViLMQuestionAnsweringConfig(
    EViLMModelConfig(start=None),
    TrainingConfig(epochs=10, batch_size=64, lr=5e-5, weight_decay=1e-3, beta2=0.98),
    QuestionEvaluationConfig(),
    QuestionDataConfig(),
)
"""The defaults with --data.root, where the start has to be named. Not tuned: no pre-trained E-ViLM and no MSRVTT-QA
were at hand."""


def main(config: EViLMQuestionAnsweringConfig, command: str | None = None) -> dict[str, Any]:
    """Trains and evaluates, or evaluates a finished run again; what `metrics.json` holds (see `run_task`)."""
    return run_evilm_answering(config, "evilm_qa", command)


if __name__ == "__main__":
    run_recipe("evilm_qa", main, EMBEDDED, REAL, __doc__)
