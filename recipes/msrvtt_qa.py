"""Video question answering on MSRVTT-QA: LiteVL adapters on a frozen BLIP that answers questions about images.

    accelerate launch recipes/msrvtt_qa.py
    accelerate launch recipes/msrvtt_qa.py --data.root /data/msrvtt_qa --backbone Salesforce/blip-vqa-base
    python recipes/msrvtt_qa.py --head classifier                    # the other protocol: a head over the answer list
    python recipes/msrvtt_qa.py --evaluation.inference generate      # the decoder writes its answers
    python recipes/msrvtt_qa.py --data.root /data/msrvtt_qa --backbone model_base_vqa_capfilt_large.pth --epochs 0
    python recipes/msrvtt_qa.py --evaluate runs/msrvtt_qa-...

The question encoder reads the question and the video, whose tokens are pooled by the question's own [CLS]; the decoder
ranks the list of answers, as BLIP's VQA does. The list is made of training answers, never of test answers; a test
question whose answer is not in it counts as wrong, and the list's ceiling stands beside each accuracy.

With no arguments it runs on the embedded corpus with the small BLIP for questions that ships with litevl. A third of
the answers there can only be had from the order of frames ("which shape appears first?").
"""

from typing import Any

from litevl.adapters import LiteVLConfig, PoolingConfig
from litevl.data.question_answering import QuestionDataConfig
from litevl.evaluation.answering import QuestionEvaluationConfig
from litevl.losses import QuestionLossConfig
from litevl.tasks import QuestionAnsweringConfig, run_question_answering, run_recipe
from litevl.training import TrainingConfig
from litevl.training.question_model import QuestionModelConfig

EMBEDDED = QuestionAnsweringConfig(
    QuestionModelConfig(
        adapter=LiteVLConfig(num_frames=6, time_embedding="sinusoidal"),
        pooling=PoolingConfig(tau=1.0, space="hidden"),
    ),
    TrainingConfig(epochs=12, batch_size=32, lr=1e-3),
    QuestionEvaluationConfig(batch_size=50, question_batch=256),
    loss=QuestionLossConfig(label_smoothing=0.0),
)
"""The defaults on the embedded corpus."""

MSRVTT = QuestionAnsweringConfig(
    QuestionModelConfig("Salesforce/blip-vqa-base"),
    TrainingConfig(epochs=5, batch_size=32, lr=1e-4, gradient_checkpointing=True),
    QuestionEvaluationConfig(workers=8),
    QuestionDataConfig(workers=8),
)
"""The defaults with --data.root. Not tuned: no BLIP weights and no MSRVTT-QA were at hand where they were written."""


def main(config: QuestionAnsweringConfig, command: str | None = None) -> dict[str, Any]:
    """Trains and evaluates, or evaluates a finished run again; what `metrics.json` holds (see `run_task`)."""
    return run_question_answering(config, "msrvtt_qa", command)


if __name__ == "__main__":
    run_recipe("msrvtt_qa", main, EMBEDDED, MSRVTT, __doc__)
