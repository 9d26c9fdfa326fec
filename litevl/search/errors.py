"""What goes wrong with an index."""


class SearchError(Exception):
    """An index, or its vector store, can't be used as asked; the message says why and what to do."""
