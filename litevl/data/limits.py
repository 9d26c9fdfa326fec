"""How large a video may be: a small file may claim any number, and who decodes it would fill the memory."""

import av

MOST_PIXELS = 1 << 26
"""Of a frame: 8192 x 8192, more than 8K has, and 200 MB as RGB."""
MOST_DAYS = 7
"""From the first frame to the last: damaged times span decades, and would be cut into as many segments."""


def beyond(stream: av.VideoCodecContext, seconds: float) -> str | None:
    """What a video has too much of, in words; None where it keeps within the limits.

    Args:
        stream: what its frames are.
        seconds: from the first frame to the last.
    """
    if stream.width * stream.height > MOST_PIXELS:
        return (
            f"expected frames of at most {MOST_PIXELS:,} pixels, got {stream.width} x {stream.height}; "
            "scale the video down"
        )
    if seconds > MOST_DAYS * 86400:
        return (
            f"expected a video of at most {MOST_DAYS} days, got a last frame {seconds:.0f} seconds after the first; "
            "its times may be damaged: fetch it again, or divide it"
        )
    return None
