"""The service, as a process of its own on a free port: answers, refusals, load, and its end."""

from __future__ import annotations

import gzip
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
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from irti_custom import MaskedSeqClassificationPipeline, export_onnx
from irti_custom.export.engines import installed
from irti_custom.serving.batching import BatchingQueue, BatchLimits
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

    def connect(self, data: bytes) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.sendall(data)
        return connection

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
    limits.update(max_waiting_tokens=300, batch_tokens=16)
    flags = [part for name, value in limits.items() for part in (f"--{name}", str(value))]
    log = tmp_path_factory.mktemp("small") / "log"
    service = Service(model, log, *flags, "--max_body_seconds", "0.5")
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
        (b'{"inputs": {"fields": {"a": %s}}}' % (b"7" * 5000), 400, ""),
        (b'{"inputs": {"fields": {"a": 1e999}}}', 400, "beyond the numbers of 64 bits"),
        (b'{"inputs": %s}' % (b"[" * 50_000), 400, "nested too deeply"),
        (b'{"inputs": %s%s}' % (b"[" * 500, b"]" * 500), 422, "Input 0: example 0 must be"),
        (gzip.compress(b'{"inputs": "a"}', mtime=0), 400, "'utf-8' codec"),
        ({"input": "secret"}, 422, "A request must be an object of"),
        ({"inputs": "secret"}, 422, r"Input 0: example 0 must hold '\[MASK\]'"),
        (
            {"inputs": [SHORT, SHORT, {"text": "secret", "spans": [[0, 99]]}]},
            422,
            "Input 2: Span 0",
        ),
        ({"inputs": "\ud800secret"}, 422, "Input 0: .*half of a surrogate pair"),
        ({"inputs": {"fields": {"a\ud800": "Ann"}}}, 422, "half of a surrogate pair"),
        ({"inputs": {"columns": [["\ud800"]]}}, 422, "half of a surrogate pair"),
        ({"inputs": {"fields": []}}, 422, "Input 0: `fields` must hold a field"),
        ({"inputs": SHORT, "parameters": {"secret": 1}}, 422, "`parameters` must be"),
        ({"inputs": SHORT, "parameters": {"return_all_scores": "false"}}, 422, "True or False"),
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


def test_errors_for_other_paths_and_methods_name_no_file(service, model):
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
def test_a_request_that_is_too_large_gets_an_error(payload, status, detail, small):
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


HEAD = b"POST /classify HTTP/1.1\r\nHost: x\r\n"


def request_of(payload: Any) -> bytes:
    body = json.dumps(payload).encode()
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_clients_that_hang_up_are_no_failures_and_take_nothing_from_others(model, pipe, tmp_path):
    service = Service(model, tmp_path / "log", "--batch_tokens", "16")
    rows = make_rows(100)
    starts = [HEAD[:9], HEAD + b"\r\n"[:1], HEAD + b"Content-Length: 99\r\n\r\n{"]
    starts.append(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")

    def hang_up(number: int) -> None:  # in the header, in the body, in the queue
        whole = request_of({"inputs": rows[number : number + 9] * 9})
        connection = service.connect([*starts, whole][number % 5])
        time.sleep(0.02 * (number % 3))
        connection.close()

    with ThreadPoolExecutor(40) as pool:
        gone = [pool.submit(hang_up, number) for number in range(100)]
        found = list(pool.map(lambda row: service.classify({"inputs": row}), rows))
        for one in gone:
            one.result(60)
    assert {status for status, _ in found} == {200}
    assert_close_answers([answers for _, answers in found], pipe(rows))
    wait_until(lambda: metric(service, "classify_waiting_tokens") == 0)
    counts = service.ask("GET", "/metrics")[1].decode()
    statuses = set(re.findall(r'classify_requests_total{status="(\d+)"}', counts))
    assert statuses == {"200", "499"}
    log = service.stop()
    assert "ERROR" not in log
    assert "Traceback" not in log
    taken, answered, left = re.findall(r"(\d+) requests taken, (\d+) answered, (\d+) left", log)[0]
    assert int(taken) == int(answered) + int(left)
    assert int(left) >= 40  # those in a body; of those in the queue, some were answered


def test_the_request_of_a_client_that_hangs_up_leaves_the_queue(pipe):
    scored = []

    def score_slowly(rows: int, tokens: int) -> None:
        scored.append(rows)
        time.sleep(0.2)

    queue = BatchingQueue(pipe, BatchLimits(batch_tokens=10), on_batch=score_slowly)
    with serve_here(queue) as port:
        first, second = (
            socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(2)
        )
        first.sendall(request_of({"inputs": SHORT}))
        time.sleep(0.1)
        second.sendall(request_of({"inputs": [SHORT] * 200}))
        wait_until(lambda: queue.waiting_tokens > 0)
        second.close()
        wait_until(lambda: queue.waiting_tokens == 0)
        assert first.recv(99).startswith(b"HTTP/1.1 200")
        first.close()
    assert sum(scored) < 100


@contextmanager
def serve_here(queue: BatchingQueue) -> Iterator[int]:
    """Run the service in a thread; return its port."""
    import uvicorn
    from service import make_app

    config = uvicorn.Config(make_app(queue, 10**6, 10, 100), port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(60)


@pytest.fixture(scope="module")
def impatient(model, tmp_path_factory) -> Iterator[Service]:
    flags = ("--max_idle_seconds", "1", "--max_body_seconds", "1", "--max_connections", "50")
    service = Service(model, tmp_path_factory.mktemp("impatient") / "log", *flags)
    yield service
    service.stop()


def is_closed(connection: socket.socket) -> bool:
    """Read to the end, if there is one yet."""
    connection.settimeout(0.01)
    try:
        while connection.recv(2**16):
            pass
    except socket.timeout:
        return False
    except ConnectionError:
        pass
    return True


ANSWERED = b"GET /health HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"POST /clas",
        HEAD,
        ANSWERED + b"\r\n",
        ANSWERED + b"\r\n" + HEAD,
        ANSWERED + b"\r\n" + ANSWERED + b"\r\nPOST",
        ANSWERED + b"Content-Length: 99\r\n\r\n",
        HEAD + b"Content-Length: 99\r\n\r\n",
    ],
)
def test_a_connection_is_not_held_for_a_client_that_does_nothing(start, impatient):
    idle = impatient.connect(start)
    trickling = impatient.connect(start)
    ended = time.monotonic() + 5
    while not (is_closed(idle) and is_closed(trickling)):
        assert time.monotonic() < ended
        with suppress(ConnectionError):
            trickling.sendall(b"a")  # more of a header, or of a body, is not all of it
        time.sleep(0.1)
    idle.close()
    trickling.close()


def test_more_connections_than_there_may_be_end_those_that_wait_longest(impatient):
    crowd = [impatient.connect(b"GET" if number % 2 else b"") for number in range(150)]
    assert impatient.ask("GET", "/health")[0] == 200  # at once
    wait_until(lambda: all(is_closed(one) for one in crowd))
    for one in crowd:
        one.close()
    log = impatient.log.read_text()
    assert "Traceback" not in log


def test_an_answer_that_nobody_reads_is_not_kept(impatient):
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.settimeout(1)
    deaf.connect(("127.0.0.1", impatient.port))

    def ask_more() -> bool:
        with suppress(socket.timeout):
            deaf.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        return False

    with pytest.raises(ConnectionError):  # it stops reading, and then ends it
        wait_until(ask_more)
    deaf.close()


def test_a_slow_reader_gets_all_of_its_answer(impatient):
    payload = {"inputs": [SHORT] * 256, "parameters": {"return_all_scores": True}}
    wanted = impatient.classify(payload)[1]
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", impatient.port))
    slow.sendall(request_of(payload).replace(b"Host: x", b"Host: x\r\nConnection: close"))
    parts = []
    while part := slow.recv(4096):
        parts.append(part)
        time.sleep(0.2)
    assert json.loads(b"".join(parts).partition(b"\r\n\r\n")[2]) == wanted
    slow.close()


def test_a_client_that_keeps_its_connection_loses_nothing(impatient, pipe):
    connection = http.client.HTTPConnection("127.0.0.1", impatient.port, timeout=60)
    connection.connect()
    opened = connection.sock
    for row in make_rows(6):
        connection.request("POST", "/classify", json.dumps({"inputs": row}))
        assert_close_answers(json.loads(connection.getresponse().read()), pipe(row))
        assert connection.sock is opened
        time.sleep(0.4)
    connection.close()


def test_pipelined_requests_are_answered_in_their_order(impatient):
    inputs = [{"text": f"Ann sees {name}", "spans": [[9, 12]]} for name in ("Bob", "Ann") * 10]
    requests = [request_of({"inputs": one}) for one in inputs]
    requests[-1] = requests[-1].replace(b"Host: x", b"Host: x\r\nConnection: close")
    connection = impatient.connect(b"".join(requests))
    received = b""
    while part := connection.recv(2**16):
        received += part
    assert re.findall(rb'"word": "(\w+)"', received) == [b"Bob", b"Ann"] * 10
    connection.close()


def test_sigterm_under_load_answers_all_requests_that_were_taken(model, pipe, tmp_path):
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


@pytest.mark.parametrize(
    ("fail", "kind"),
    [
        (RuntimeError("secret, in /home/ann/model"), "RuntimeError"),
        (ValueError("secret"), "ValueError"),  # is not the request's
        (TimeoutError("secret"), "TimeoutError"),
        (FloatingPointError("secret"), "FloatingPointError"),
        (float("nan"), "Error"),
    ],
)
def test_a_model_that_fails_is_not_quoted(fail, kind, pipe, caplog, monkeypatch):
    testclient = pytest.importorskip("starlette.testclient", reason="needs an HTTP client")
    from service import make_app

    def score(rows: list[dict[str, Any]]) -> Any:
        if isinstance(fail, Exception):
            raise fail
        count = sum(len(row["mask_indices"]) for row in rows)
        return torch.full((count, len(pipe.writer().names)), fail)

    broken = MaskedSeqClassificationPipeline(pipe.model, pipe.processor, device="cpu", top_k=1)
    monkeypatch.setattr(broken, "score", score)
    with testclient.TestClient(make_app(BatchingQueue(broken), 1000, 10, 10)) as client:
        response = client.post("/classify", json={"inputs": SHORT})
        assert client.post("/classify", json={"inputs": []}).status_code == 200
    assert response.status_code == 500
    assert response.json() == {"detail": "The model failed on this request."}
    assert re.search(rf"A request failed with \w*{kind}", caplog.text)
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
def test_wrong_settings_end_the_service_at_the_start(flags, message, model, monkeypatch):
    import serve

    monkeypatch.setattr(sys, "argv", ["serve.py", "--model", model, *flags])
    with pytest.raises(SystemExit, match=message):
        serve.main()
