"""The queue: the pipeline's answers, shared batches, fair turns, and failures that stay alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest

from irti_custom import MaskedSeqClassificationPipeline, MaskedSeqProcessor, export_onnx
from irti_custom.export.engines import installed
from irti_custom.serving.batching import (
    BatchingQueue,
    BatchLimits,
    QueueClosedError,
    QueueFullError,
)
from tests.scoring import assert_close_answers, make_rows
from tests.tiny import wide_model, word_tokenizer

SHORT = {"text": "Ann sees Bob", "spans": [(0, 3), (9, 12)]}  # 5 tokens with the special ones


def make_pipe(task: str = "multilabel", **kwargs: Any) -> MaskedSeqClassificationPipeline:
    processor = MaskedSeqProcessor(word_tokenizer(), **{"max_length": 32, **kwargs})
    model = wide_model(task=task)
    return MaskedSeqClassificationPipeline(model, processor, device="cpu", thresholds=0.3)


@pytest.fixture(scope="module", params=["multilabel", "multiclass"])
def pipe(request) -> MaskedSeqClassificationPipeline:
    return make_pipe(request.param)


class Gate:
    """Hold the first batch back until it is opened, and note what batches there are."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, int]] = []
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, rows: int, tokens: int) -> None:
        self.batches.append((rows, tokens))
        self.reached.set()
        assert self.opened.wait(60)


@pytest.fixture
def gate() -> Gate:
    return Gate()


def held(pipe: MaskedSeqClassificationPipeline, gate: Gate, **limits: int) -> BatchingQueue:
    """A queue whose only worker is busy with a first batch of one short text."""
    queue = BatchingQueue(pipe, BatchLimits(**limits), on_batch=gate)
    queue.submit(SHORT)
    assert gate.reached.wait(60)
    return queue


def mixed_inputs() -> list[Any]:
    table = {"columns": [{"header": "city", "values": ["Rome", "Paris"]}, ["Ann"]]}
    return [
        *make_rows(40),
        "[MASK] likes [MASK]",
        {"words": ["Ann", "sees", "Bob"], "spans": [(2, 3)]},
        table,
        {"fields": {"name": "Ann", "city": None, "in": "Rome"}},
        {"text": "", "spans": []},
    ]


def test_answers_of_many_threads_are_the_pipelines(pipe):
    inputs = mixed_inputs()
    with (
        BatchingQueue(pipe, BatchLimits(batch_tokens=100)) as queue,
        ThreadPoolExecutor(20) as pool,
    ):
        requests = [*inputs, inputs, inputs[:3], []]
        futures = list(pool.map(queue.submit, requests))
        for request, future in zip(requests, futures):
            assert_close_answers(future.result(60), pipe(request))
    assert queue.waiting_tokens == 0


def test_requests_with_other_options_share_a_batch(pipe, gate):
    queue = held(pipe, gate)
    options: list[dict] = [{}, {"top_k": 1}, {"thresholds": 0.9}, {"return_all_scores": True}]
    futures = [queue.submit(SHORT, **given) for given in options]
    gate.opened.set()
    for given, future in zip(options, futures):
        assert_close_answers(future.result(60), pipe(SHORT, **given))
    assert len(gate.batches) == 2  # they shared one
    queue.close()


@pytest.mark.parametrize("on_overflow", ["window", "drop"])
def test_long_texts_are_answered_as_the_pipeline_does(on_overflow):
    pipe = make_pipe(max_length=8, on_overflow=on_overflow)
    inputs = make_rows(12)
    with BatchingQueue(pipe, BatchLimits(batch_tokens=20)) as queue:
        assert_close_answers(queue.submit(inputs).result(60), pipe(inputs))


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> str:
    pytest.importorskip("onnxscript", reason="exports a graph")
    folder = tmp_path_factory.mktemp("exported")
    pipe = make_pipe()
    export_onnx(pipe.model, folder, processor=pipe.processor)
    return str(folder)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_several_workers_share_a_graph(runtime, exported):
    if runtime not in installed():
        pytest.skip(f"needs {runtime}")
    streams = {"streams": 2} if runtime == "openvino" else {}
    graph = MaskedSeqClassificationPipeline.from_pretrained(
        exported, runtime=runtime, thresholds=0.3, **streams
    )
    inputs = mixed_inputs()
    with BatchingQueue(graph, BatchLimits(batch_tokens=64), workers=2) as queue:
        futures = [queue.submit(one) for one in inputs]
        for one, future in zip(inputs, futures):
            assert_close_answers(future.result(60), graph(one))


def test_requests_that_arrive_together_share_batches_up_to_the_limit(pipe, gate):
    queue = held(pipe, gate, batch_tokens=50)
    futures = [queue.submit(SHORT) for _ in range(25)]
    gate.opened.set()
    assert all(future.result(60) for future in futures)
    assert gate.batches == [(1, 5), (10, 50), (10, 50), (5, 25)]
    queue.close()


def test_rows_of_similar_length_are_batched_and_a_longer_one_is_alone(pipe, gate):
    queue = held(pipe, gate, batch_tokens=20)
    long = {"text": " ".join(["Ann"] * 25), "spans": [(0, 3)]}  # 27 tokens
    futures = [queue.submit(one) for one in (SHORT, long, SHORT, long)]
    gate.opened.set()
    assert all(future.result(60) for future in futures)
    assert gate.batches == [(1, 5), (2, 10), (1, 27), (1, 27)]
    queue.close()


def test_a_small_request_waits_for_a_batch_of_a_huge_one_not_for_all(pipe, gate):
    queue = held(pipe, gate, batch_tokens=50)
    done: list[str] = []
    longer = {"text": "Ann sees Bob in Rome", "spans": [(0, 3)]}  # 7 tokens, 7 rows a batch
    huge = queue.submit([longer] * 200)
    huge.add_done_callback(lambda _: done.append("huge"))
    batches = []
    for name in ("first", "second"):
        small = queue.submit(SHORT)
        small.add_done_callback(lambda _, name=name: done.append(name))
        small.add_done_callback(lambda _: batches.append(len(gate.batches)))
    gate.opened.set()
    assert len(huge.result(60)) == 200
    queue.close()
    assert done == ["first", "second", "huge"]
    assert max(batches) <= 3  # the one it found, one of the huge request, its own
    assert len(gate.batches) > 20


def test_a_huge_request_is_not_starved_by_small_ones_that_keep_coming(pipe, gate):
    queue = held(pipe, gate, batch_tokens=10)
    huge = queue.submit([{"text": " ".join(["Ann"] * 25), "spans": [(0, 3)]}] * 5)
    coming = iter(range(1000))

    def send_another(_: Any = None) -> None:
        if not huge.done() and next(coming, None) is not None:
            queue.submit(SHORT).add_done_callback(send_another)

    for _ in range(20):
        send_another()
    gate.opened.set()
    assert len(huge.result(60)) == 5
    assert next(coming, None) is not None  # it did not wait for the last of them
    queue.close()


def test_a_bad_input_raises_with_its_number_and_fails_no_other(pipe, gate):
    queue = held(pipe, gate)
    good = queue.submit(SHORT)
    bad = [SHORT] * 20 + [{"text": "Ann", "spans": [(0, 9)]}]
    with pytest.raises(ValueError, match=r"^Input 20: Span 0 of example 20 must have 0 <= start"):
        queue.submit(bad)
    with pytest.raises(TypeError, match="no option"):
        queue.submit(SHORT, top=3)
    with pytest.raises(ValueError, match="`top_k` must be a whole number"):
        queue.submit(SHORT, top_k=0)
    gate.opened.set()
    assert_close_answers(good.result(60), pipe(SHORT))
    queue.close()


def test_a_row_that_the_model_cannot_read_fails_its_request_alone(gate):
    tokenizer = word_tokenizer()
    tokenizer.add_tokens([f"new{number}" for number in range(60)])  # the model knows 64 in all
    processor = MaskedSeqProcessor(tokenizer, max_length=32)
    pipe = MaskedSeqClassificationPipeline(wide_model(), processor, device="cpu", thresholds=0.3)
    queue = held(pipe, gate, batch_tokens=40)
    unknown = {"text": "Ann sees new59", "spans": [(0, 3)]}
    futures = [queue.submit(one) for one in (SHORT, [SHORT, unknown, *[SHORT] * 30], SHORT)]
    gate.opened.set()
    with pytest.raises(ValueError, match="input_ids"):
        futures[1].result(60)
    for future in (futures[0], futures[2], queue.submit(SHORT)):
        assert_close_answers(future.result(60), pipe(SHORT))
    queue.close()
    assert queue.waiting_tokens == 0


def test_a_cancelled_request_leaves_its_room_to_others(pipe, gate):
    queue = held(pipe, gate, max_waiting_tokens=20, max_request_tokens=20)
    cancelled = queue.submit([SHORT] * 4)
    assert cancelled.cancel()
    assert queue.waiting_tokens == 0
    others = [queue.submit([SHORT] * 2), queue.submit(SHORT)]
    gate.opened.set()
    assert_close_answers(others[0].result(60), pipe([SHORT] * 2))
    assert_close_answers(others[1].result(60), pipe(SHORT))
    assert sum(rows for rows, _ in gate.batches) == 1 + 3
    assert wait([cancelled], 60).not_done == set()
    queue.close()


def test_a_request_that_is_cancelled_while_it_is_scored_is_dropped(pipe, gate):
    queue = BatchingQueue(pipe, BatchLimits(batch_tokens=10), on_batch=gate)
    cancelled = queue.submit([SHORT] * 5)  # of which two are in the batch at the gate
    assert gate.reached.wait(60)
    assert cancelled.cancel()
    other = queue.submit(SHORT)
    gate.opened.set()
    assert_close_answers(other.result(60), pipe(SHORT))
    assert gate.batches == [(2, 10), (1, 5)]
    queue.close()


def test_a_full_queue_raises_until_it_has_room_again(pipe, gate):
    queue = held(pipe, gate, max_waiting_tokens=20, max_request_tokens=20)
    futures = [queue.submit([SHORT] * 3)]
    with pytest.raises(QueueFullError, match="The queue is full: 15 tokens are waiting") as caught:
        queue.submit([SHORT] * 2)
    assert caught.value.seconds >= 0
    futures.append(queue.submit(SHORT))  # 20 of 20
    with pytest.raises(QueueFullError):
        queue.submit({"text": "Ann", "spans": [(0, 9)]})  # is not even prepared
    gate.opened.set()
    assert all(future.result(60) for future in futures)
    assert queue.submit([SHORT] * 4).result(60)
    queue.close()


def test_too_many_inputs_tokens_or_positions_raise(pipe):
    limits = BatchLimits(max_request_tokens=40, max_inputs=9)
    with BatchingQueue(pipe, limits) as queue:
        with pytest.raises(ValueError, match="at most 9 inputs, got 10"):
            queue.submit([SHORT] * 10)
        with pytest.raises(ValueError, match="at most 40 tokens, got 45 in its first 9 inputs"):
            queue.submit([SHORT] * 9)
        with pytest.raises(ValueError, match="at most 40 tokens, got 50"):
            queue.submit({"text": "Ann", "spans": [(0, 3)] * 50})
        assert len(queue.submit([SHORT] * 8).result(60)) == 8


def test_close_answers_what_is_queued_and_takes_no_more(pipe, gate):
    queue = held(pipe, gate, batch_tokens=10)
    futures = [queue.submit([SHORT] * 5) for _ in range(10)]
    closing = threading.Thread(target=queue.close)
    closing.start()
    gate.opened.set()
    closing.join(60)
    assert all(len(future.result(0)) == 5 for future in futures)
    with pytest.raises(QueueClosedError, match="takes no more requests"):
        queue.submit(SHORT)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"batch_tokens": 0}, "`batch_tokens` must be a whole number of at least 1, got 0"),
        ({"max_inputs": "x"}, "`max_inputs` must be a whole number"),
        ({"max_waiting_tokens": 10}, "at least `max_request_tokens`, got 10 and 16384"),
    ],
)
def test_limits_out_of_range_raise(limits, message):
    with pytest.raises(ValueError, match=message):
        BatchLimits(**limits)
