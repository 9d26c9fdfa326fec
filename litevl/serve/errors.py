"""What a server says no with."""


class RefusedError(Exception):
    """Something that a person asked for can't be done; the message says why, in words for that person."""
