"""The choices that a command line offers, apart from what they choose among, which needs torch."""

from typing import Literal

Cut = Literal["windows", "shots", "whole"]
"""How a video is cut into segments."""
Precision = Literal["float16", "float32", "none"]
"""Of the tokens on disk."""
DECODE_TIMEOUT = 300.0
"""Seconds that decoding may take to the next segment or window: of a long film, reading all of it from a slow disk."""
ADVICE = "or allow more with --decode-timeout"
"""What a user can do where it takes longer."""
OnBad = Literal["skip", "error"]
"""What becomes of a video that can't be read."""
