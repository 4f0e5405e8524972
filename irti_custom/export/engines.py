"""The runtimes of an exported graph, behind one way to call them.

    model.onnx, model_int8.onnx ──▶ open_engine(runtime, precision) ──▶ run(arrays) ──▶ logits

Each is imported when a graph is opened, and may be called from several threads at once.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections import deque
from collections.abc import Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from ..labels import check_count
from ..loading.sources import ONNX_FILE

if TYPE_CHECKING:
    from onnxruntime import SessionOptions

INT8_FILE = "model_int8.onnx"
RUNTIMES = ("onnxruntime", "openvino")
GRAPH_FILES = {"float32": ONNX_FILE, "bfloat16": ONNX_FILE, "int8": INT8_FILE}
"""The file of each precision; bfloat16 is made of float32 as the graph is opened."""

_EXTRAS = {"openvino": "openvino", "nncf": "openvino"}


class Engine(Protocol):
    """A graph that is ready to run.

    Attributes:
        inputs: names of the arrays that it takes.
        num_labels: L.
        metadata: what the export noted in the graph.
    """

    inputs: tuple[str, ...]
    num_labels: int
    metadata: Mapping[str, str]

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """Compute the logits ``(B, M, L)`` in float32."""


class OnnxRuntimeEngine:
    """A graph in ONNX Runtime, whose sessions are safe to share between threads.

    Args:
        path: the graph.
        threads: of one call; default: as many as PyTorch uses.
        providers: execution providers; default: the CPU.
        session_options: of ONNX Runtime, in place of `threads`.

    Raises:
        OSError: it cannot be read.
    """

    def __init__(
        self,
        path: str,
        threads: int | None = None,
        providers: Sequence[Any] | None = None,
        session_options: SessionOptions | None = None,
    ) -> None:
        runtime = import_extra("onnxruntime")
        errors = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
        if session_options is None:
            session_options = runtime.SessionOptions()
            session_options.intra_op_num_threads = threads or torch.get_num_threads()
        try:
            self.session = runtime.InferenceSession(
                path, session_options, providers=list(providers or ("CPUExecutionProvider",))
            )
        except (
            errors.Fail,
            errors.InvalidArgument,
            errors.InvalidGraph,
            errors.InvalidProtobuf,
            errors.NoSuchFile,
            errors.RuntimeException,
        ) as error:
            raise _unreadable("ONNX Runtime", path, error) from error
        self.inputs = tuple(node.name for node in self.session.get_inputs())
        self.num_labels = self.session.get_outputs()[0].shape[-1]
        self.metadata = self.session.get_modelmeta().custom_metadata_map

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """Compute the logits ``(B, M, L)``."""
        return self.session.run(None, dict(feeds))[0]


class OpenVinoEngine:
    """A graph in OpenVINO, on the CPU. Every call that runs at the same time has a request.

    Args:
        path: the graph.
        precision: "bfloat16", or another, for which nothing is computed in less than the graph
            says; OpenVINO's own default depends on the machine.
        threads: of the machine; default: as many as PyTorch uses.
        streams: how many calls run side by side and share the threads; default: one.
        model_cache_dir: a folder where OpenVINO keeps the compiled graph, to open it sooner.

    Raises:
        OSError: it cannot be read.
    """

    def __init__(
        self,
        path: str,
        precision: str = "float32",
        threads: int | None = None,
        streams: int | None = None,
        model_cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        core = _core(import_extra("openvino"))
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
            "INFERENCE_NUM_THREADS": threads or torch.get_num_threads(),
            "NUM_STREAMS": streams or 1,
            # Threads that are bound to cores are bound to the same ones in every process.
            "ENABLE_CPU_PINNING": False,
        }
        if model_cache_dir is not None:
            settings["CACHE_DIR"] = os.fspath(model_cache_dir)
        try:
            graph = core.read_model(path)
            self.model = core.compile_model(graph, "CPU", settings)
        except RuntimeError as error:
            raise _unreadable("OpenVINO", path, error) from error
        self.inputs = tuple(node.get_any_name() for node in graph.inputs)
        self.num_labels = graph.outputs[0].partial_shape[-1].get_length()
        noted = graph.has_rt_info("framework")  # OpenVINO's place for the metadata of ONNX
        self.metadata: Mapping[str, str] = graph.get_rt_info("framework").value if noted else {}
        self._idle: deque[Any] = deque()  # requests that no call is using

    def run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """Compute the logits ``(B, M, L)``."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self.model.create_infer_request()
        logits = request.infer(dict(feeds), share_inputs=True)[0]  # a copy of its own
        self._idle.append(request)
        return logits


@cache
def _core(openvino: ModuleType) -> Any:
    """Return the one core of this process, which lives as long as that.

    A core gives its thread a stack for signals, and takes it away when it dies. Of several, one
    would leave behind the stack of another that is gone, and the next signal would end the process.
    """
    return openvino.Core()


def open_engine(
    folder: str,
    runtime: str,
    precision: str,
    threads: int | None = None,
    streams: int | None = None,
    model_cache_dir: str | os.PathLike[str] | None = None,
    providers: Sequence[Any] | None = None,
    session_options: SessionOptions | None = None,
) -> Engine:
    """Open the graph of a folder; see `OnnxMaskedSeqModel.from_pretrained`.

    Raises:
        ModuleNotFoundError: the runtime is not installed.
        OSError: the file is incomplete.
        ValueError: no number of threads or streams, or an option of the other runtime.
    """
    threads = None if threads is None else check_count("threads", threads)
    streams = None if streams is None else check_count("streams", streams)
    if threads is not None and session_options is not None:
        raise ValueError(
            "`session_options` of ONNX Runtime say how many threads it uses. Leave `threads` out."
        )
    of_openvino = {"streams": streams, "model_cache_dir": model_cache_dir}
    of_onnxruntime = {"providers": providers, "session_options": session_options}
    others = of_onnxruntime if runtime == "openvino" else of_openvino
    if unused := [name for name, value in others.items() if value is not None]:
        (other,) = set(RUNTIMES) - {runtime}
        raise ValueError(f"{unused} are options of runtime={other!r}, got runtime={runtime!r}.")
    path = os.path.join(folder, GRAPH_FILES[precision])
    if runtime == "openvino":
        return OpenVinoEngine(path, precision, threads, streams, model_cache_dir)
    return OnnxRuntimeEngine(path, threads, providers, session_options)


def check_runs_here(runtime: str, precision: str) -> None:
    """Check that a runtime exists, and that it computes in this precision on this machine.

    Raises:
        ValueError: see above.
    """
    if runtime not in RUNTIMES:
        raise ValueError(f"`runtime` must be one of {RUNTIMES}, got {runtime!r}.")
    if precision not in GRAPH_FILES:
        raise ValueError(f"`precision` must be one of {tuple(GRAPH_FILES)}, got {precision!r}.")
    if reason := _why_not(runtime, precision):
        raise ValueError(reason)


def installed() -> list[str]:
    """Name the runtimes that are installed."""
    return [runtime for runtime in RUNTIMES if importlib.util.find_spec(runtime)]


def runs_here() -> list[tuple[str, str]]:
    """List pairs of runtime and precision that are installed and that this machine has."""
    pairs = [(runtime, precision) for runtime in installed() for precision in GRAPH_FILES]
    return [pair for pair in pairs if not _why_not(*pair)]


def _why_not(runtime: str, precision: str) -> str | None:
    """Say why a runtime does not compute in a precision on this machine; None if it does."""
    if precision == "bfloat16" and runtime != "openvino":
        return (
            "ONNX Runtime computes this graph in float32 or int8, got precision='bfloat16'. "
            "Use runtime='openvino'."
        )
    if precision == "bfloat16" and not has_amx():
        return (
            "precision='bfloat16' is slower than float32 on this CPU, which has no AMX (amx_bf16). "
            "Use precision='int8' or 'float32'."
        )
    return None


def has_amx() -> bool:
    """Return True if the CPU multiplies matrices of bfloat16 faster than of float32.

    AVX512-BF16 without AMX does not suffice: `benchmarks/README.md` has a measurement.
    """
    find = getattr(torch.cpu, "get_capabilities", None)  # older versions of PyTorch cannot tell
    return find is not None and bool(find().get("amx_bf16"))


def import_extra(name: str) -> ModuleType:
    """Import a module of the extra `onnx` or `openvino`.

    Raises:
        ModuleNotFoundError: with the command that installs it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"This needs {name}, and the import failed: {error}. Run `pip install {name}`, or "
            f'install this package as "irti_custom[{_EXTRAS.get(name, "onnx")}]".',
            name=error.name,
        ) from error


def _unreadable(runtime: str, path: str, error: Exception) -> OSError:
    return OSError(f"{runtime} cannot load {path!r}: {error}. Was it written whole? Export again.")
