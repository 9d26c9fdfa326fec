"""What others published, for orientation: none of it is measured here, and none stands in a table with what is."""

from dataclasses import dataclass

SHARES = {"accuracy": 91.4, "parameters": 15.0, "gflops_saved": 94.8}
"""E-ViLM's against the larger model of its paper, in percent: accuracy, parameters, and how many fewer GFLOPs."""
SHARES_SOURCE = "Fang et al., E-ViLM, arXiv 2311.17267, abstract"


@dataclass(frozen=True)
class Published:
    """One published result."""

    model: str
    data: str
    metric: str
    value: str
    source: str
    """Who published it, and where."""


_RETRIEVAL = ("MSR-VTT 1k-A, text to video", "R@1 / 5 / 10")
PUBLISHED = (
    Published("E-ViLM", "MSRVTT-QA", "top-1", "39.3", SHARES_SOURCE),
    Published("LiteVL-S", *_RETRIEVAL, "46.7 / 71.8 / 81.7", "second-hand, DREAM's Table 1"),
    Published("LiteVL-L", *_RETRIEVAL, "50.8 / 76.3 / 84.4", "second-hand, DREAM's Table 1"),
    Published(
        "BLIP-B zero-shot, COCO-tuned, 8 frames, 384 px", *_RETRIEVAL, "43.3 / 65.6 / 74.7", "BLIP paper, Table 10"
    ),
    Published("RTQ (whole BLIP trained)", *_RETRIEVAL, "53.4 / 76.1 / 84.4", "RTQ paper, Table 1"),
    Published("UniAdapter (frozen BLIP)", *_RETRIEVAL, "49.7 / - / -", "its abstract"),
)


def shares_text() -> str:
    """E-ViLM's published shares as a sentence."""
    return (
        f"Published, not measured here ({SHARES_SOURCE}): on MSRVTT-QA {SHARES['accuracy']}% of a larger model's "
        f"accuracy with {SHARES['parameters']:g}% of its parameters and {SHARES['gflops_saved']}% fewer GFLOPs."
    )
