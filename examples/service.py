"""The service of `serve.py`: HTTP around a `BatchingQueue`.

    POST /classify ──▶ body ──▶ payload ──▶ queue ──▶ answers, or a status and the reason

Neither errors nor logs hold a traceback or a path; only who sent an input gets it quoted.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest
from starlette.requests import ClientDisconnect

from irti_custom.serving.batching import Answers, BatchingQueue, QueueFullError
from irti_custom.serving.payload import NotJsonError, parse_json, read_payload
from irti_custom.serving.schema import describe_operation

SIZES = [2**power for power in range(15)]
REQUESTS = Counter("classify_requests", "Requests answered", ["status"])
POSITIONS = Counter("classify_positions", "Positions classified")
SECONDS = Histogram("classify_seconds", "From a request to its answer")
ROWS = Histogram("classify_batch_rows", "Rows of a batch", buckets=SIZES)
TOKENS = Histogram("classify_batch_tokens", "Tokens of a batch, padding included", buckets=SIZES)
WAITING = Gauge("classify_waiting_tokens", "Tokens in the queue")
PAGE = Path(__file__).with_name("serve.html")
logger = logging.getLogger("uvicorn.error")


class BodyTooLongError(Exception): ...


class ModelError(Exception): ...  # no fault of the request's, whatever its cause is


STATUS: dict[type[Exception], int] = {  # the first that fits
    NotJsonError: 400,
    asyncio.TimeoutError: 408,
    BodyTooLongError: 413,
    ValueError: 422,
    ClientDisconnect: 499,
    QueueFullError: 503,
}


def observe_batch(rows: int, tokens: int) -> None:
    ROWS.observe(rows)
    TOKENS.observe(tokens)


async def read_body(request: Request, limit: int) -> bytes:
    body, size = bytearray(), 0
    async for chunk in request.stream():  # to its end, so that the client reads the answer
        size += len(chunk)
        body += chunk if size <= limit else b""
    if size > limit:
        raise BodyTooLongError(f"A body must have at most {limit} bytes, got {size}. Send several.")
    return bytes(body)


async def wait_for_answers(request: Request, future: Future[Answers]) -> Answers:
    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    answers, client = asyncio.wrap_future(future), asyncio.ensure_future(watch())
    try:
        await asyncio.wait((answers, client), return_when=asyncio.FIRST_COMPLETED)
        if not answers.done():
            raise ClientDisconnect
        return answers.result()
    finally:
        client.cancel()
        answers.cancel()  # takes what waits out of the queue


def make_app(queue: BatchingQueue, max_bytes: int, max_seconds: float, max_open: int) -> FastAPI:
    count = {"taken": 0, "answered": 0, "left": 0}

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        queue.close()
        logger.info("%(taken)d requests taken, %(answered)d answered, %(left)d left", count)

    app = FastAPI(title="irti_custom", docs_url=None, redoc_url=None, lifespan=lifespan)

    def submit(body: bytes) -> Future[Answers]:
        inputs, options = read_payload(parse_json(body))
        return queue.submit(inputs, **options)

    async def answer(request: Request) -> str:
        if count["taken"] - count["answered"] - count["left"] > max_open:
            raise QueueFullError("Too many requests are open. Try again later.", seconds=1)
        body = await asyncio.wait_for(read_body(request, max_bytes), max_seconds)
        future = await run_in_threadpool(submit, body)
        try:
            answers = await wait_for_answers(request, future)
            content = json.dumps(answers, allow_nan=False)
        except ClientDisconnect:
            raise
        except Exception as error:  # of whatever kind: the request has passed all checks
            raise ModelError from error
        POSITIONS.inc(sum(len(one) if isinstance(one, list) else 1 for one in answers))
        return content

    operation = describe_operation(queue.pipe.tokenizer.mask_token)

    @app.post("/classify", openapi_extra=operation)
    async def classify(request: Request) -> Response:
        count["taken"] += 1
        status, headers, content = 200, {}, ""
        with SECONDS.time():
            try:
                content = await answer(request)
            except Exception as error:
                status = next((STATUS[kind] for kind in STATUS if isinstance(error, kind)), 500)
                detail = str(error) or "The body took too long to arrive."
                if status == 500:  # what such an error says may quote an input or name a file
                    detail = "The model failed on this request."
                    cause = error.__cause__ if isinstance(error, ModelError) else error
                    logger.error("A request failed with %s", type(cause).__name__)
                if isinstance(error, QueueFullError):
                    headers["Retry-After"] = str(max(1, math.ceil(error.seconds)))
                content = json.dumps({"detail": detail})
        REQUESTS.labels(status).inc()
        count["left" if status == 499 else "answered"] += 1
        return Response(content, status, headers, media_type="application/json")

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ready"}

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        WAITING.set(queue.waiting_tokens)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(PAGE.read_text(encoding="utf-8"), media_type="text/html")

    return app
