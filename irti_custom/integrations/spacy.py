"""spaCy: a component that labels the spans a pipeline has found.

    doc.ents, doc.spans[key], noun chunks, tokens  ->  doc.spans["sc"], attrs {"scores": [...]}

spaCy finds the factory by its entry point; the pipeline of this package does the work.
"""

# spaCy evaluates the annotations of a factory, also on Python 3.9.
# ruff: noqa: UP007, UP045
from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Optional, Union

import numpy as np
import torch
from transformers.utils import CONFIG_NAME

from ..inference.answers import Answer, labels_of
from ..inference.components import OnnxModule, label_names
from ..inference.pipeline import MaskedSeqClassificationPipeline
from ..labels import Thresholds, check_count
from ..loading.folders import replaced_files

try:
    import srsly
    from spacy.language import Language
    from spacy.pipeline import Pipe
    from spacy.pipeline.spancat import spancat_score
    from spacy.tokens import Span, SpanGroup
    from spacy.util import minibatch
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"The component needs spaCy, and the import failed: {error}. Run `pip install spacy`, or "
        'install this package as "irti_custom[integrations]".',
        name=error.name,
    ) from error

if TYPE_CHECKING:
    from spacy.tokens import Doc

FACTORY = "masked_seq_classifier"
_READS = ("ents", "noun_chunks", "tokens")


@Language.factory(
    FACTORY,
    assigns=["doc.spans"],
    default_config={
        "read": "ents",
        "spans_key": "sc",
        "batch_size": 32,
        "device": None,
        "thresholds": None,
        "top_k": None,
        "return_all_scores": False,
        "set_ents": False,
        "extension": None,
        "runtime": None,
        "precision": None,
    },
    default_score_weights={"spans_sc_f": 1.0, "spans_sc_p": 0.0, "spans_sc_r": 0.0},
)
def make_masked_seq_classifier(
    nlp: Language,
    name: str,
    model: str,
    read: str,
    spans_key: str,
    batch_size: int,
    device: Optional[Union[int, str]],
    thresholds: Optional[Union[float, list[float], dict[str, float]]],
    top_k: Optional[int],
    return_all_scores: bool,
    set_ents: bool,
    extension: Optional[str],
    runtime: Optional[str],
    precision: Optional[str],
) -> MaskedSeqClassifier:
    """Make the component of ``nlp.add_pipe("masked_seq_classifier", config={"model": folder})``.

    See `MaskedSeqClassifier` for the other arguments.
    """
    return MaskedSeqClassifier(
        name,
        model,
        read=read,
        spans_key=spans_key,
        batch_size=batch_size,
        device=device,
        thresholds=thresholds,
        top_k=top_k,
        return_all_scores=return_all_scores,
        set_ents=set_ents,
        extension=extension,
        runtime=runtime,
        precision=precision,
    )


class MaskedSeqClassifier(Pipe):
    """Label spans of documents with a trained model.

    ``doc.spans[spans_key]`` is written as spaCy's span categorizer writes it: one `Span` per span
    and label, in the order of the spans and then of the label ids, and beside them
    ``attrs["scores"]``, a float32 array. A span that is read twice is labelled once.

    The model is loaded when the first document with spans comes, or by `load`. A pipeline that is
    saved holds it; ``config.cfg`` goes on naming the folder that it came from.

    Args:
        name: of the component.
        model: a folder or Hub id with model and processor.
        read: which spans are labelled: "ents", "noun_chunks", "tokens" (those of white space are
            left out), or "spans:KEY" for ``doc.spans[KEY]``.
        spans_key: the group that is written, in place of one of that name.
        batch_size: rows per forward pass.
        device: where to compute; default: the first accelerator, or the CPU.
        thresholds: in place of the model's own.
        top_k: write the best `top_k` labels of a span, regardless of thresholds.
        return_all_scores: write all labels, regardless of thresholds.
        set_ents: also give each of ``doc.ents`` its label, for read="ents" and a model with
            task="multiclass". An entity whose label a threshold rejects is removed.
        extension: a name such as "labels": ``span._.labels`` lists the labels of a span that was
            read, best first, as dicts of ``label`` and ``score``; it is empty where none holds, and
            None for spans that were not read.
        runtime: of an exported graph, as `precision`; see `OnnxMaskedSeqModel.from_pretrained`.
        precision: of an exported graph.

    Raises:
        ValueError: settings that are unknown, or contradict each other.

    Example:
        >>> import spacy
        >>> nlp = spacy.blank("en")
        >>> nlp.add_pipe("entity_ruler").add_patterns([{"label": "NAME", "pattern": "Ann"}])
        >>> _ = nlp.add_pipe("masked_seq_classifier", config={"model": "trained", "set_ents": True})
        >>> doc = nlp("Ann lives in Rome")  # doctest: +SKIP
        >>> doc.spans["sc"], doc.spans["sc"].attrs["scores"]  # doctest: +SKIP
        ([Ann], array([0.98], dtype=float32))
    """

    def __init__(
        self,
        name: str,
        model: str,
        read: str = "ents",
        spans_key: str = "sc",
        batch_size: int = 32,
        device: int | str | None = None,
        thresholds: Thresholds | None = None,
        top_k: int | None = None,
        return_all_scores: bool = False,
        set_ents: bool = False,
        extension: str | None = None,
        runtime: str | None = None,
        precision: str | None = None,
    ) -> None:
        kind, _, key = read.partition(":")
        if read not in _READS and not (kind == "spans" and key):
            raise ValueError(f'`read` must be one of {_READS} or "spans:KEY", got {read!r}.')
        if set_ents and read != "ents":
            raise ValueError(
                f"set_ents=True needs read='ents', whose labels it sets, got {read!r}."
            )
        if extension and not Span.has_extension(extension):
            Span.set_extension(extension, default=None)
        self.name, self.model_path = name, model
        self.read, self.spans_key = read, spans_key
        self.set_ents, self.extension = set_ents, extension
        graph = {"runtime": runtime, "precision": precision}
        self._options = {
            "batch_size": check_count("batch_size", batch_size),
            "device": device,
            "thresholds": thresholds,
            "top_k": top_k,
            "return_all_scores": return_all_scores,
            **{option: value for option, value in graph.items() if value},
        }
        self.scorer, self.cfg = spancat_score, {"spans_key": spans_key}  # `score` of Pipe uses them
        self._tagger: MaskedSeqClassificationPipeline | None = None
        self._label_ids: dict[str, int] = {}
        self._unpacked: TemporaryDirectory | None = None
        self._process = os.getpid()

    @property
    def tagger(self) -> MaskedSeqClassificationPipeline:
        """The pipeline that labels the spans, loaded when it is first needed."""
        if self._process != os.getpid():
            self._settle_in_fork()
        return self._tagger or self.load()

    def load(self, trust_remote_code: bool = False) -> MaskedSeqClassificationPipeline:
        """Load the model now.

        Args:
            trust_remote_code: permit the code of an encoder that brings its own; no config can.

        Raises:
            OSError: no such folder or repository, or files missing from it.
            ValueError: what is there does not fit together, or does not fit the settings.
        """
        code = {"trust_remote_code": True} if trust_remote_code else {}
        tagger = MaskedSeqClassificationPipeline.from_pretrained(
            self.model_path, **self._options, **code
        )
        if self.set_ents and tagger.model.config.task != "multiclass":
            raise ValueError(
                "set_ents=True needs a model with task='multiclass', one label per entity, and "
                f"{self.model_path!r} is {tagger.model.config.task!r}. Use `extension`."
            )
        names = label_names(tagger.model.config, tagger.processor)
        self._tagger = tagger
        self._label_ids = {name: index for index, name in enumerate(names)}
        return tagger

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the model, in the order of their ids; empty before it is loaded."""
        return tuple(self._label_ids)

    def __call__(self, doc: Doc) -> Doc:
        """Label the spans of a document."""
        self._annotate([doc])
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Label the spans of many documents, of which `batch_size` are read at a time.

        The documents of a batch that fails are tried one by one, so that spaCy's error handler gets
        those at fault and no others.
        """
        for docs in minibatch(stream, size=batch_size):
            done: Iterable[Doc] = docs
            try:
                self._annotate(docs)
            except Exception:  # spaCy's own loop below hands any kind to the handler
                done = super().pipe(docs)
            yield from done

    def _annotate(self, docs: list[Doc]) -> None:
        spans = [self._spans(doc) for doc in docs]
        inputs = [
            {"text": doc.text, "spans": [(span.start_char, span.end_char) for span in found]}
            for doc, found in zip(docs, spans)
        ]
        asked = [one for one in inputs if one["spans"]]
        answers: Iterator[Any] = iter(self.tagger(asked) if asked else [])
        for doc, found in zip(docs, spans):
            self._write(doc, found, next(answers) if found else [])

    def _spans(self, doc: Doc) -> list[Span]:
        """Return the spans to label, each once."""
        if not len(doc):
            return []
        if self.read == "tokens":
            return [doc[token.i : token.i + 1] for token in doc if not token.is_space]
        if self.read in _READS:
            return list(getattr(doc, self.read))
        key = self.read.partition(":")[2]
        if key not in doc.spans:
            raise ValueError(
                f"read={self.read!r} needs doc.spans[{key!r}], and this document has the groups "
                f"{list(doc.spans)}. Add the component that writes it before {self.name!r}."
            )
        return list({(span.start, span.end): span for span in doc.spans[key]}.values())

    def _write(self, doc: Doc, spans: list[Span], answers: list[Answer]) -> None:
        listed = [labels_of(answer) for answer in answers]
        entries = [
            (Span(doc, span.start, span.end, label=one["label"]), one["score"])
            for span, labels in zip(spans, listed)
            for one in sorted(labels or [], key=lambda one: self._label_ids[one["label"]])
        ]
        group = SpanGroup(doc, name=self.spans_key, spans=[span for span, _ in entries])
        group.attrs["scores"] = np.array([score for _, score in entries], dtype=np.float32)
        doc.spans[self.spans_key] = group
        if self.extension:
            for span, labels in zip(spans, listed):
                span._.set(self.extension, labels)
        if self.set_ents:
            doc.set_ents([ent for pair in zip(spans, answers) for ent in _relabelled(*pair)])

    def to_disk(self, path: str | os.PathLike, *, exclude: Iterable[str] = ()) -> None:
        """Save model and processor to a folder; adapters are merged into their base."""
        model = self.tagger.model
        if isinstance(model, OnnxModule):
            _copy_graph(self.model_path, path)
            return
        if hasattr(model, "merge_and_unload"):  # an adapter needs its base, which may be gone
            model = copy.deepcopy(model).merge_and_unload()
        model.save_pretrained(path)
        self.tagger.processor.save_pretrained(path)

    def from_disk(
        self, path: str | os.PathLike, *, exclude: Iterable[str] = ()
    ) -> MaskedSeqClassifier:
        """Use the model in a folder from now on.

        Raises:
            OSError: there is none.
        """
        if not os.path.isfile(os.path.join(path, CONFIG_NAME)):
            raise OSError(f"{os.fspath(path)!r} holds no model: it has no {CONFIG_NAME}.")
        self.model_path, self._tagger, self._label_ids = os.path.abspath(path), None, {}
        return self

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Return the files that `to_disk` writes."""
        with TemporaryDirectory() as folder:
            self.to_disk(folder)
            files = [path for path in Path(folder).rglob("*") if path.is_file()]
            return srsly.msgpack_dumps(
                {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
            )

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> MaskedSeqClassifier:
        """Use the model in files that `to_bytes` returned; they are unpacked to a temporary folder.

        Raises:
            OSError: there is none.
            ValueError: a file that would lie elsewhere.
        """
        unpacked = TemporaryDirectory()
        folder = Path(unpacked.name).resolve()
        for name, content in srsly.msgpack_loads(data).items():
            file = (folder / name).resolve()
            if folder not in file.parents:
                raise ValueError(f"Files must lie in the folder of the model, got {name!r}.")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        self.from_disk(folder)
        self._unpacked = unpacked  # the folder is there as long as this component is
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the loaded model out: a process that is spawned loads it from its folder."""
        state = {**vars(self), "_tagger": None, "_unpacked": None}
        return type(self).__new__, (type(self),), state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _process=os.getpid())

    def _settle_in_fork(self) -> None:
        """Make a worker of ``nlp.pipe(n_process=...)`` wait for no thread of its parent."""
        is_graph = self._tagger is not None and isinstance(self._tagger.model, OnnxModule)
        if is_graph and self._options.get("runtime") == "openvino":
            raise RuntimeError(
                "A process must not fork after it has run OpenVINO. Use n_process=1, or call "
                "nlp.pipe(..., n_process=...) before this process loads the model."
            )
        torch.set_num_threads(1)
        self._process = os.getpid()
        if is_graph:
            self._of_parent, self._tagger = self._tagger, None  # kept: its end would wait, too


def _relabelled(ent: Span, answer: Answer) -> list[Span]:
    """Return an entity under its new label; as it is where it was dropped, none if rejected."""
    if answer["score"] is None:
        return [ent]
    if answer["label"] is None:
        return []
    ids = {"kb_id": ent.kb_id, "span_id": ent.id}
    return [Span(ent.doc, ent.start, ent.end, label=answer["label"], **ids)]


def _copy_graph(source: str, path: str | os.PathLike) -> None:
    """Copy the folder of an exported graph in place of what lies there."""
    if os.path.isdir(path) and os.path.samefile(source, path):
        return
    with replaced_files(path, lambda name: not name.endswith(".py")) as scratch:
        shutil.copytree(source, scratch, dirs_exist_ok=True)
