"""The path of `serving.batching` in version 0.3.0."""

from ..serving.batching import BatchingQueue, BatchLimits, QueueClosedError, QueueFullError

__all__ = ["BatchLimits", "BatchingQueue", "QueueClosedError", "QueueFullError"]
