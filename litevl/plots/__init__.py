"""Pictures of what a model does inside: temporal scales, what a text makes of a clip, what a tokenizer's codes look at.

Needs matplotlib: `pip install 'litevl[plots]'`.
"""

from .codes import plot_codes
from .pooling import plot_pooling
from .scales import plot_scales

__all__ = ["plot_codes", "plot_pooling", "plot_scales"]
