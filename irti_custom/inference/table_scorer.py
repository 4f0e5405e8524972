"""The path of `scoring.table_scorer` in version 0.3.0."""

from ..scoring.table_scorer import TableScorer

__all__ = ["TableScorer"]
