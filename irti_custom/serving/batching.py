"""Answer requests that arrive together in shared batches.

    request ──▶ its rows, prepared on their own ──┐
    request ──▶ its rows ─────────────────────────┴─▶ a batch of rows of similar length ──▶ logits
                                                                                              │
    its answers, once its last row is scored  ◀───────────────────────────────────────────────┘

The pipeline prepares, scores and answers; the queue decides whose turn it is, and fills batches.
"""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, groupby, islice
from typing import Any, NamedTuple, Union

import torch

from ..inference.answers import Answer, AnswerWriter
from ..inference.pipeline import MaskedSeqClassificationPipeline, is_one_input
from ..inference.predictions import Predictions
from ..labels import check_count
from ..processing.processor import Encoded
from ..processing.rows import rows_of
from ..records.kinds import RecordInput

Answers = Union[list[Answer], list[list[Answer]]]
"""The answers of a pipeline: a list for one input, a list of lists for many."""
_INPUTS_AT_ONCE = 16


class QueueFullError(RuntimeError):
    """There is no room for another request.

    Attributes:
        seconds: when there should be room, judging by the last batch.
    """

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message, seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return str(self.args[0])


class QueueClosedError(QueueFullError):
    """The queue is closed, and will have no room."""


@dataclass
class BatchLimits:
    """Maximum sizes of batches, requests and the queue, in tokens.

    A row costs its tokens, or its positions where there are more.

    Args:
        batch_tokens: of a batch, padding included; a longer row is a batch of its own.
        max_waiting_tokens: of all rows that are in no batch yet.
        max_request_tokens: of the rows of a request.
        max_inputs: inputs of a request.

    Raises:
        ValueError: numbers below 1, or a request that may be larger than the queue.
    """

    batch_tokens: int = 1024
    max_waiting_tokens: int = 65536
    max_request_tokens: int = 16384
    max_inputs: int = 256

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            check_count(name, value)
        if self.max_request_tokens > self.max_waiting_tokens:
            raise ValueError(
                "`max_waiting_tokens` must be at least `max_request_tokens`, got "
                f"{self.max_waiting_tokens} and {self.max_request_tokens}."
            )


@dataclass(eq=False)
class _Request:
    """A request in the queue.

    Attributes:
        parts: some consecutive inputs, and the logits of their rows, as far as there are any.
        waiting: by their number, the rows that are in no batch yet, the longest first.
        unscored: how many rows are not scored yet.
    """

    writer: AnswerWriter
    is_one: bool
    parts: list[tuple[Encoded, list[torch.Tensor]]] = field(default_factory=list)
    waiting: dict[int, _Row] = field(default_factory=dict)
    unscored: int = 0
    future: Future[Answers] = field(default_factory=Future)


class _Row(NamedTuple):
    """A row to score; rows sort by cost, then by number, which is unique.

    Its logits go to their `place` among the `logits` of its part.
    """

    cost: int
    number: int
    request: _Request
    values: dict[str, Any]
    logits: list[torch.Tensor]
    place: int


class BatchingQueue:
    """Score the requests of many threads in batches of limited size.

    A batch begins with the longest row of the request whose turn it is, and is filled with the rows
    of all requests that are nearest in length. Turns go round, so that a request waits for one
    batch of another with a thousand rows, not for all of them. No batch waits to be filled up.

    Inputs are prepared before they are queued, so that a bad one fails no other request.

    Args:
        pipe: the pipeline; it belongs to the queue until that is closed.
        limits: of batches, requests and the queue.
        workers: threads that score; more than one for OpenVINO with as many `streams`.
        on_batch: is called with the number of rows and of tokens of each batch before it is scored.

    Attributes:
        waiting_tokens: of the rows that are in no batch yet.

    Example:
        >>> with BatchingQueue(pipe) as queue:  # doctest: +SKIP
        ...     future = queue.submit({"text": "Ann lives in Rome", "spans": [(0, 3)]})
        ...     future.result()
        [{'start': 0, 'end': 3, 'word': 'Ann', 'labels': [{'label': 'person', 'score': 0.98}]}]
    """

    def __init__(
        self,
        pipe: MaskedSeqClassificationPipeline,
        limits: BatchLimits | None = None,
        workers: int = 1,
        on_batch: Callable[[int, int], object] = lambda rows, tokens: None,
    ) -> None:
        self.pipe, self.limits, self.on_batch = pipe, limits or BatchLimits(), on_batch
        self.waiting_tokens = 0
        self._default_writer = pipe.writer()
        self._rows: list[_Row] = []  # in no batch yet, sorted
        self._turns: deque[_Request] = deque()
        self._numbers = count()
        self._seconds_per_token = 0.0
        self._is_closed = False
        self._changed = threading.Condition()  # guards all of the above
        self._preparing = threading.Lock()  # a tokenizer serves one thread at a time
        self._threads = [
            threading.Thread(target=self._work, name=f"batching-{number}", daemon=True)
            for number in range(check_count("workers", workers))
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, inputs: RecordInput | list[RecordInput], **options: Any) -> Future[Answers]:
        """Prepare the inputs of a request, and queue them. Any thread may call it.

        Args:
            inputs: one input or a list of them, as the pipeline takes them.
            **options: `thresholds`, `top_k` and `return_all_scores` of the pipeline.

        Returns:
            The future answers, as the pipeline returns them. Cancelling takes the request out of
            the queue.

        Raises:
            QueueFullError: no room for them.
            QueueClosedError: after `close`.
            TypeError: an unknown option.
            ValueError: options out of range; too many inputs or tokens; an input that cannot be
                prepared, by its number in the request.
        """
        writer = self.pipe.writer(**options) if options else self._default_writer
        request = _Request(writer, is_one_input(inputs))
        listed = [inputs] if request.is_one else list(inputs)
        limit = self.limits.max_inputs
        if len(listed) > limit:
            raise ValueError(
                f"A request must have at most {limit} inputs, got {len(listed)}. Send several."
            )
        self._check_room(1)
        rows = sorted(self._prepare(request, listed), reverse=True)
        request.waiting = {row.number: row for row in rows}
        request.unscored = len(rows)
        request.future.add_done_callback(lambda _: self._remove(request))
        with self._changed:
            tokens = sum(row.cost for row in rows)
            self._check_room(tokens)
            if rows:
                self.waiting_tokens += tokens
                for row in rows:
                    insort(self._rows, row)
                self._turns.append(request)
                self._changed.notify_all()
        if not rows:
            self._finish([request])
        return request.future

    def close(self) -> None:
        """Take no more requests, and wait until those in the queue are answered."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> BatchingQueue:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _check_room(self, tokens: int) -> None:
        if self._is_closed:
            raise QueueClosedError("The queue is closed, and takes no more requests.", seconds=1)
        if self.waiting_tokens + tokens > self.limits.max_waiting_tokens:
            seconds = self.waiting_tokens * self._seconds_per_token / len(self._threads)
            raise QueueFullError(
                f"The queue is full: {self.waiting_tokens} tokens are waiting. Try again later.",
                seconds,
            )

    def _prepare(self, request: _Request, inputs: list[Any]) -> list[_Row]:
        """Turn inputs into rows, a few at a time, so that other threads get their turn."""
        made: list[_Row] = []
        total, limit = 0, self.limits.max_request_tokens
        for first in range(0, len(inputs), _INPUTS_AT_ONCE):
            with self._preparing:
                encoded = self.pipe.preprocess(inputs[first : first + _INPUTS_AT_ONCE], first=first)
            rows = rows_of(encoded.rows)
            logits = [torch.zeros(0, len(request.writer.names))] * len(rows)
            request.parts.append((encoded, logits))
            for place, values in enumerate(rows):
                if positions := len(values["mask_indices"]):
                    cost = max(values["length"], positions)
                    made.append(_Row(cost, next(self._numbers), request, values, logits, place))
                    total += cost
            if total > limit:
                raise ValueError(
                    f"A request must have at most {limit} tokens, got {total} in its first "
                    f"{first + len(encoded.positions)} inputs. Send several, or shorter texts."
                )
        return made

    def _work(self) -> None:
        while batch := self._take():
            begun = time.perf_counter()
            self._answer(batch)
            self._seconds_per_token = (time.perf_counter() - begun) / _size(batch)

    def _take(self) -> list[_Row]:
        """Wait for rows, and take a batch of them; none if the queue is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._rows or self._is_closed)
            if not self._rows:
                return []
            request = self._turns.popleft()
            while not request.waiting:  # batches that others began have taken all of it
                request = self._turns.popleft()
            longest = next(iter(request.waiting.values()))
            taken = self._around(bisect_left(self._rows, longest))
            batch = self._rows[taken]
            del self._rows[taken]
            for row in batch:
                del row.request.waiting[row.number]
                self.waiting_tokens -= row.cost
            if request.waiting:
                self._turns.append(request)
            if not self._rows:
                self._turns.clear()  # of requests that nothing more is taken from
            return batch

    def _around(self, place: int) -> slice:
        """Choose a batch: the row at `place`, and those nearest in length as long as they fit."""
        rows, cost, limit = self._rows, self._rows[place].cost, self.limits.batch_tokens
        start, stop = place, place + 1
        while True:
            longer = rows[stop].cost - cost if stop < len(rows) else math.inf
            shorter = cost - rows[start - 1].cost if start else math.inf
            wider = (start, stop + 1) if longer <= shorter else (start - 1, stop)
            if longer == shorter == math.inf or _size(rows[slice(*wider)]) > limit:
                return slice(start, stop)
            start, stop = wider

    def _answer(self, batch: list[_Row]) -> None:
        """Score a batch, and finish the requests whose last rows it has.

        Where that fails, each request is scored by itself, so that the others get their answers.
        """
        requests = list(dict.fromkeys(row.request for row in batch))
        try:
            self.on_batch(len(batch), _size(batch))
            logits = self.pipe.score([row.values for row in batch])
            pieces = logits.split([len(row.values["mask_indices"]) for row in batch])
        except Exception as error:  # of whatever kind: who waits for an answer must get it
            if len(requests) == 1:
                self._fail(requests[0], error)
                return
            for request in requests:
                self._answer([row for row in batch if row.request is request])
            return
        with self._changed:
            for row, piece in zip(batch, pieces):
                row.logits[row.place] = piece
                row.request.unscored -= 1
            finished = [request for request in requests if not request.unscored]
        for _, group in groupby(sorted(finished, key=_writer_id), key=_writer_id):
            self._finish(list(group))

    def _finish(self, requests: list[_Request]) -> None:
        """Set the answers of requests with one writer, which is faster than one by one."""
        try:
            facts = self.pipe.facts
            parts = [
                Predictions.of_rows(encoded, logits, request.writer, facts)
                for request in requests
                for encoded, logits in request.parts
            ]
            answers = iter(Predictions.joined(parts).answers() if parts else [])
        except Exception as error:  # as in `_answer`
            if len(requests) == 1:
                self._fail(requests[0], error)
                return
            for request in requests:
                self._finish([request])
            return
        for request in requests:
            count = sum(len(encoded.positions) for encoded, _ in request.parts)
            own = list(islice(answers, count))
            with suppress(InvalidStateError):  # cancelled, or failed with other rows
                request.future.set_result(own[0] if request.is_one else own)

    def _fail(self, request: _Request, error: Exception) -> None:
        with suppress(InvalidStateError):  # as in `_finish`
            request.future.set_exception(error)

    def _remove(self, request: _Request) -> None:
        """Take the rows of a request that has ended out of the queue."""
        if request.future.cancelled():
            request.future.set_running_or_notify_cancel()  # wakes `concurrent.futures.wait`
        with self._changed:
            if request.waiting:
                self.waiting_tokens -= sum(row.cost for row in request.waiting.values())
                request.waiting.clear()
                self._rows = [row for row in self._rows if row.request is not request]


def _writer_id(request: _Request) -> int:
    return id(request.writer)


def _size(batch: list[_Row]) -> int:
    """Return the tokens of a batch of sorted rows, padding included."""
    return len(batch) * batch[-1].cost
