"""Pictures of what a model does inside: its temporal scales, and what a text makes of a clip's frames and patches.

Needs matplotlib: `pip install 'litevl[plots]'`.
"""

from .pooling import plot_pooling
from .scales import plot_scales

__all__ = ["plot_pooling", "plot_scales"]
