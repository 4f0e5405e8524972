"""The service, as a process of its own on a free port: answers, refusals, load, and its end."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    MaskedSeqClassificationPipeline,
    export_onnx,
)
from irti_custom.export.engines import installed
from irti_custom.inference.batching import BatchingQueue
from tests.scoring import EXAMPLES, assert_close_answers, make_rows, save_trained

MISSING = [
    n for n in ("fastapi", "prometheus_client", "uvicorn") if not importlib.util.find_spec(n)
]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs the extra serve: {MISSING}")
SHORT = {"text": "Ann sees Bob", "spans": [[0, 3], [9, 12]]}


class Service:
    """A process of `serve.py`; everything it writes is in `log`."""

    def __init__(self, model: str, log: Path, *flags: str) -> None:
        self.log = log
        environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent), "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, str(EXAMPLES / "serve.py"), "--model", model, "--port", "0"]
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [*command, *flags], stdout=file, stderr=file, env=environment, cwd=log.parent
            )
        while not (found := re.search(r"running on http://127\.0\.0\.1:(\d+)", log.read_text())):
            assert self.process.poll() is None, log.read_text()
            time.sleep(0.05)
        self.port = int(found[1])

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, response.read(), response.headers
        finally:
            connection.close()

    def classify(self, payload: Any) -> tuple[int, Any]:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        status, answer, _ = self.ask("POST", "/classify", body)
        return status, json.loads(answer)

    def stop(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)
        return self.log.read_text()


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return save_trained(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def pipe(model) -> MaskedSeqClassificationPipeline:
    return MaskedSeqClassificationPipeline.from_pretrained(model)


@pytest.fixture(scope="module")
def service(model, tmp_path_factory) -> Iterator[Service]:
    service = Service(model, tmp_path_factory.mktemp("service") / "log")
    yield service
    service.stop()


@pytest.fixture(scope="module")
def small(model, tmp_path_factory) -> Iterator[Service]:
    """A service with room for little."""
    limits = {"max_body_bytes": 20_000, "max_inputs": 60, "max_request_tokens": 300}
    limits.update(max_waiting_tokens=300, batch_tokens=16, max_connections=50)
    flags = [part for name, value in limits.items() for part in (f"--{name}", str(value))]
    log = tmp_path_factory.mktemp("small") / "log"
    service = Service(model, log, *flags, "--max_body_seconds", "0.5", "--max_head_seconds", "1")
    yield service
    service.stop()


def metric(service: Service, name: str) -> float:
    text = service.ask("GET", "/metrics")[1].decode()
    return sum(map(float, re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)))


def test_a_hundred_clients_at_once_get_the_pipelines_answers(service, pipe):
    rows = make_rows(100)
    start = threading.Barrier(100)

    def send(row: dict) -> tuple[int, Any]:
        start.wait()
        return service.classify({"inputs": row})

    with ThreadPoolExecutor(100) as pool:
        found = list(pool.map(send, rows))
    assert {status for status, _ in found} == {200}
    assert_close_answers([answers for _, answers in found], pipe(rows))
    assert metric(service, "classify_batch_rows_count") < metric(service, "classify_batch_rows_sum")


def test_the_examples_of_the_schema_run(service, pipe):
    operation = json.loads(service.ask("GET", "/openapi.json")[1])["paths"]["/classify"]["post"]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    assert len(examples) == 6
    for example in examples.values():
        payload = example["value"]
        status, answers = service.classify(payload)
        assert status == 200
        assert_close_answers(answers, pipe(payload["inputs"], **payload.get("parameters", {})))


def test_many_inputs_and_none(service, pipe):
    inputs = [*make_rows(9), "[MASK] likes Rome", {"fields": {"😀": "Ann", "fax": None}}]
    status, answers = service.classify(
        {"inputs": inputs, "parameters": {"return_all_scores": True}}
    )
    assert status == 200
    assert_close_answers(answers, pipe(inputs, return_all_scores=True))
    assert service.classify({"inputs": []}) == (200, [])
    assert service.classify({"inputs": {"text": "", "spans": []}}) == (200, [])


@pytest.mark.parametrize(
    ("payload", "status", "detail"),
    [
        (b'{"inputs": ', 400, "The body must be JSON in UTF-8"),
        (b"", 400, "The body must be JSON"),
        (b'{"inputs": "\xff"}', 400, "'utf-8' codec can't decode"),
        (b'{"inputs": "a", "inputs": "b"}', 400, "a name twice"),
        ({"input": "secret"}, 422, "A request must be an object of"),
        ({"inputs": "secret"}, 422, r"Input 0: example 0 must hold '\[MASK\]'"),
        (
            {"inputs": [SHORT, SHORT, {"text": "secret", "spans": [[0, 99]]}]},
            422,
            "Input 2: Span 0",
        ),
        ({"inputs": "\ud800secret"}, 422, "Input 0: .*half of a surrogate pair"),
        ({"inputs": SHORT, "parameters": {"secret": 1}}, 422, "`parameters` must be"),
        ({"inputs": SHORT, "parameters": {"top_k": "secret"}}, 422, "`top_k` must be"),
        ({"inputs": SHORT, "parameters": {"thresholds": {"secret": 1}}}, 422, "secret"),
    ],
)
def test_a_bad_request_gets_a_sentence_and_leaves_no_trace_in_the_log(
    payload, status, detail, service, model
):
    found, answer = service.classify(payload)
    assert found == status
    assert re.match(rf"(?s).*{detail}", answer["detail"])
    log = service.log.read_text()
    for part in ("secret", "Traceback"):
        assert part not in log
    for part in (model, str(EXAMPLES), "Traceback", ".py"):
        assert part not in answer["detail"]


def test_other_paths_and_methods_are_named_no_file(service, model):
    for method, path, status in (("GET", "/", 404), ("GET", "/classify", 405), ("PUT", "/x", 404)):
        found, body, _ = service.ask(method, path)
        assert found == status
        assert model.encode() not in body


def test_health_metrics_and_the_page(service):
    assert json.loads(service.ask("GET", "/health")[1]) == {"status": "ready"}
    page = service.ask("GET", "/docs")[1].decode()
    assert "/classify" in page
    assert "http" not in page  # it loads nothing from elsewhere
    before = {
        name: metric(service, name)
        for name in (
            "classify_requests_total",
            "classify_positions_total",
            "classify_seconds_count",
        )
    }
    service.classify({"inputs": [SHORT, SHORT]})
    service.classify({"inputs": SHORT})
    service.classify({"inputs": 7})
    after = {name: metric(service, name) for name in before}
    assert [after[name] - before[name] for name in before] == [3, 6, 3]
    assert metric(service, "classify_waiting_tokens") == 0


@pytest.mark.parametrize(
    ("payload", "status", "detail"),
    [
        (b" " * 20_001, 413, "at most 20000 bytes, got 20001"),
        (b" " * 5_000_000, 413, "got 5000000"),
        ({"inputs": [SHORT] * 61}, 422, "at most 60 inputs, got 61"),
        ({"inputs": [{**SHORT, "text": "Ann sees Bob " * 9}] * 15}, 422, "at most 300 tokens, got"),
    ],
)
def test_what_is_too_large_is_refused(payload, status, detail, small):
    found, answer = small.classify(payload)
    assert found == status
    assert detail in answer["detail"]
    assert small.classify({"inputs": SHORT})[0] == 200


def test_a_full_queue_answers_503_and_says_when_to_try_again(small, pipe):
    inputs = [SHORT] * 58  # 290 tokens of 300
    start = threading.Barrier(20)

    def send(_: int) -> tuple[int, bytes, Any]:
        start.wait()
        return small.ask("POST", "/classify", json.dumps({"inputs": inputs}).encode())

    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(send, range(20)))
    assert {status for status, _, _ in found} == {200, 503}
    wanted = pipe(inputs)
    for status, body, headers in found:
        if status == 503:
            assert int(headers["Retry-After"]) >= 1
            assert "The queue is full" in json.loads(body)["detail"]
        else:
            assert_close_answers(json.loads(body), wanted)
    assert small.classify({"inputs": inputs})[0] == 200


def test_a_body_that_does_not_arrive_is_not_waited_for(small):
    connection = http.client.HTTPConnection("127.0.0.1", small.port, timeout=60)
    connection.putrequest("POST", "/classify")
    connection.putheader("Content-Length", "100")
    connection.endheaders(b'{"inputs"')
    response = connection.getresponse()
    assert response.status == 408
    assert json.loads(response.read()) == {"detail": "The body took too long to arrive."}
    connection.close()


def test_a_client_that_hangs_up_is_no_failed_model(small):
    def count(status: str) -> float:
        return metric(small, f'classify_requests_total{{status="{status}"}}')

    failed, taken = count("500"), count("499")
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", small.port)) as connection:
            connection.sendall(b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
            time.sleep(0.05)
    until = time.monotonic() + 60
    while count("499") < taken + 5 and time.monotonic() < until:
        time.sleep(0.05)
    assert (count("499") - taken, count("500") - failed) == (5, 0)
    assert "ERROR" not in small.log.read_text()


@pytest.mark.parametrize("sent", [b"", b"POST /cla", b"GET /health HTTP/1.1\r\nHos"])
def test_a_connection_without_a_whole_head_is_closed_and_others_are_served(sent, small):
    with socket.create_connection(("127.0.0.1", small.port), timeout=60) as idle:
        idle.sendall(sent)
        assert small.ask("GET", "/health")[0] == 200
        assert idle.recv(1) == b""  # closed by the service
    client = http.client.HTTPConnection("127.0.0.1", small.port, timeout=60)
    for wait in (0, 0.5, 0.5):  # of one connection that is kept
        time.sleep(wait)
        client.request("GET", "/health")
        assert json.loads(client.getresponse().read()) == {"status": "ready"}
    client.close()


def test_connections_beyond_the_limit_are_closed(small):
    held = [socket.create_connection(("127.0.0.1", small.port), timeout=60) for _ in range(60)]
    try:
        assert b"" in [connection.recv(1) for connection in held]
    finally:
        for connection in held:
            connection.close()
    assert small.classify({"inputs": SHORT})[0] == 200


def test_term_under_load_answers_all_that_was_taken(model, pipe, tmp_path):
    service = Service(model, tmp_path / "log", "--batch_tokens", "16")
    rows = make_rows(60)
    wanted = pipe(rows)
    answered, broken = [0] * 100, []

    def send(client: int) -> None:
        number = client
        while True:
            row, number = number % len(rows), number + 1
            try:
                status, found = service.classify({"inputs": rows[row]})
            except (ConnectionError, http.client.BadStatusLine):  # it was not taken
                return
            except Exception as error:
                broken.append(error)
                return
            answered[client] += 1
            assert status == 200
            assert_close_answers(found, wanted[row])

    with ThreadPoolExecutor(100) as pool:
        clients = [pool.submit(send, client) for client in range(100)]
        while sum(answered) < 300:
            time.sleep(0.01)
        log = service.stop()
        for client in clients:
            client.result(120)
    assert not broken
    total = sum(answered)
    assert f"{total} requests taken, {total} answered" in log
    assert "Traceback" not in log


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_graph_is_served_in_its_runtime(runtime, exported):
    from serve import ScriptArguments, load

    if runtime not in installed():
        pytest.skip(f"needs {runtime}")
    streams = 2 if runtime == "openvino" else 0
    graph = load(ScriptArguments(exported, runtime=runtime, threads=1, streams=streams))
    assert type(graph.model.exported.engine).__name__.lower() == f"{runtime}engine"
    assert [answer["word"] for answer in graph(SHORT)] == ["Ann", "Bob"]


@pytest.fixture(scope="module")
def exported(pipe, tmp_path_factory) -> str:
    pytest.importorskip("onnxscript", reason="exports a graph")
    folder = tmp_path_factory.mktemp("exported")
    export_onnx(pipe.model, folder, processor=pipe.processor)
    return str(folder)


class BrokenPipeline(MaskedSeqClassificationPipeline):
    def score(self, rows: list[dict[str, Any]]) -> Any:
        raise RuntimeError("secret, in /home/ann/model")


def test_a_model_that_fails_is_not_quoted(pipe, caplog):
    testclient = pytest.importorskip("starlette.testclient", reason="needs an HTTP client")
    from service import make_app

    queue = BatchingQueue(BrokenPipeline(pipe.model, pipe.processor, device="cpu"))
    with testclient.TestClient(make_app(queue, 1000, 10, 10)) as client:
        response = client.post("/classify", json={"inputs": SHORT})
        assert client.post("/classify", json={"inputs": []}).status_code == 200
    assert response.status_code == 500
    assert response.json() == {"detail": "The model failed on this request."}
    assert "A request failed with RuntimeError" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--precision", "int8"], "are for the folder of an exported graph"),
        (["--batch_tokens", "0"], "`batch_tokens` must be a whole number"),
        (["--threads", "-1"], "This cannot be served: .*positive"),
        (["--model", "nowhere"], "This cannot be served: "),
    ],
)
def test_what_cannot_be_served_is_said_at_the_start(flags, message, model, monkeypatch):
    import serve

    monkeypatch.setattr(sys, "argv", ["serve.py", "--model", model, *flags])
    with pytest.raises(SystemExit, match=message):
        serve.main()


def test_a_model_that_computes_nan_is_a_failure_of_the_service(tmp_path):
    folder = save_trained(tmp_path / "trained")
    model = AutoModelForMaskedSeqModeling.from_pretrained(folder)
    model.head[0].weight.data[0, 0] = float("nan")
    model.save_pretrained(folder)
    service = Service(folder, tmp_path / "log")
    try:
        failed = (500, {"detail": "The model failed on this request."})
        assert service.classify({"inputs": SHORT}) == failed
        assert service.classify({"inputs": SHORT, "parameters": {"top_k": 1}}) == failed
    finally:
        assert "A request failed with FloatingPointError" in service.stop()
