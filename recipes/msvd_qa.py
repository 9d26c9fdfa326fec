"""Video question answering on MSVD-QA: LiteVL adapters on a frozen BLIP that answers questions about images.

    accelerate launch recipes/msvd_qa.py
    accelerate launch recipes/msvd_qa.py --data.root /data/msvd_qa --backbone Salesforce/blip-vqa-base
    accelerate launch recipes/msvd_qa.py --data.root /data/msvd_qa --data.videos /data/YouTubeClips
    python recipes/msvd_qa.py --head classifier --data.answers 2423  # ALPRO's protocol
    python recipes/msvd_qa.py --evaluate runs/msvd_qa-...

As recipes/msrvtt_qa.py, which says how questions are answered and counted. The original release names videos vid1300
and the files in youtube_mapping.txt; that file is read where it is there, and the files may bear either name.

With no arguments it runs on the embedded corpus, whose questions are then in MSVD-QA's schema. They are those of
recipes/msrvtt_qa.py about the same clips, and so are the figures.
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
    QuestionDataConfig(dataset="msvd"),
    QuestionLossConfig(label_smoothing=0.0),
)
"""The defaults on the embedded corpus: those of recipes/msrvtt_qa.py."""

MSVD = QuestionAnsweringConfig(
    QuestionModelConfig("Salesforce/blip-vqa-base"),
    TrainingConfig(epochs=5, batch_size=32, lr=1e-4, gradient_checkpointing=True),
    QuestionEvaluationConfig(),
    QuestionDataConfig(dataset="msvd"),
)
"""The defaults with --data.root: those of recipes/msrvtt_qa.py. Not tuned: no BLIP weights and no MSVD-QA were at hand
where they were written."""


def main(config: QuestionAnsweringConfig, command: str | None = None) -> dict[str, Any]:
    """Trains and evaluates, or evaluates a finished run again; what `metrics.json` holds (see `run_task`)."""
    return run_question_answering(config, "msvd_qa", command)


if __name__ == "__main__":
    run_recipe("msvd_qa", main, EMBEDDED, MSVD, __doc__)
