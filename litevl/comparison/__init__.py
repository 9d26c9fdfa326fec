"""Runs side by side: accuracy over seeds with intervals, and what each model costs."""

from . import report
from .comparison import Comparison, Line, Shares, TrainingCost, compare
from .cost import Cost, CostConfig, measure_costs
from .load import Source
from .outputs import check_output, check_picture
from .plot import plot_comparison
from .subject import CaptioningSubject, QuestionSubject, RetrievalSubject, Subject

__all__ = [
    "CaptioningSubject",
    "Comparison",
    "Cost",
    "CostConfig",
    "Line",
    "QuestionSubject",
    "RetrievalSubject",
    "Shares",
    "Source",
    "Subject",
    "TrainingCost",
    "check_output",
    "check_picture",
    "compare",
    "measure_costs",
    "plot_comparison",
    "report",
]
