"""The embedded corpus: a small world of coloured shapes, its clips and still pictures, and their captions."""

from litevl.corpus.captions import vocabulary
from litevl.corpus.corpus import ensure_corpus
from litevl.corpus.plan import CorpusConfig
from litevl.corpus.stills import Still, still_pairs

__all__ = ["CorpusConfig", "Still", "ensure_corpus", "still_pairs", "vocabulary"]
