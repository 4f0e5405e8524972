"""Presidio: decide about all that its recognizers find in a text, in one pass of a model.

    results of a text  ->  results of another type or score, or none

The pipeline of this package does the work; texts come one by one, as Presidio analyzes them.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..inference.components import label_names
from ..inference.pipeline import MaskedSeqClassificationPipeline
from ..rule import Rule

try:
    from presidio_analyzer import RecognizerResult
    from presidio_analyzer.context_aware_enhancers import (
        ContextAwareEnhancer,
        LemmaContextAwareEnhancer,
    )
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"The enhancer needs Presidio's analyzer, and the import failed: {error}. Run `pip install "
        'presidio-analyzer`, or install this package as "irti_custom[integrations]".',
        name=error.name,
    ) from error

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine, EntityRecognizer
    from presidio_analyzer.nlp_engine import NlpArtifacts

    from ..records.record import Record

NO_ENTITY = "NO_ENTITY"
"""The label of spans that are no personal data, unless told otherwise."""


class MaskedSeqEnhancer(ContextAwareEnhancer):
    """Re-type, re-score or drop the results of Presidio's recognizers.

    ``AnalyzerEngine(context_aware_enhancer=MaskedSeqEnhancer(folder))`` asks it once per text, with
    the results of all recognizers. A result gets the entity type that the model finds for its span,
    and the probability of that as its score; Presidio's thresholds and its removal of duplicates
    come after it.

    Args:
        model: a folder or Hub id with model and processor, trained with task="multiclass" on spans
            such as `label_proposals` makes; or a pipeline around one, for other settings.
        entities: the entity type for a label, by label name, or None to drop its results. A label
            that is not among them is an entity type itself, and `NO_ENTITY` drops.
        trust: spans to which a recognizer gives at least this score are left to `fallback`, such as
            1.0 for numbers with the right checksum; default: the model decides about all.
        threshold: results whose best label has a lower probability are left to `fallback`; default:
            the one in the model's config, which is none unless it was tuned.
        fallback: what enhances the results that the model does not decide about; default:
            Presidio's own `LemmaContextAwareEnhancer`.

    Raises:
        OSError: no such folder or repository, or files missing from it.
        ValueError: a model with another task, `entities` of labels that it does not have, or a
            `trust` or `threshold` that is no probability.

    Example:
        >>> enhancer = MaskedSeqEnhancer("trained", {"CITY": "LOCATION"})  # doctest: +SKIP
        >>> analyzer = AnalyzerEngine(context_aware_enhancer=enhancer)  # doctest: +SKIP
        >>> analyzer.analyze("Call 212-555-1234", language="en")  # doctest: +SKIP
        [type: PHONE_NUMBER, start: 5, end: 17, score: 0.98]
    """

    def __init__(
        self,
        model: str | os.PathLike | MaskedSeqClassificationPipeline,
        entities: Mapping[str, str | None] | None = None,
        trust: float | None = None,
        threshold: float | None = None,
        fallback: ContextAwareEnhancer | None = None,
    ) -> None:
        super().__init__(  # settings of context words, which this one has none of
            context_similarity_factor=0.0,
            min_score_with_context_similarity=0.0,
            context_prefix_count=0,
            context_suffix_count=0,
        )
        if not isinstance(model, MaskedSeqClassificationPipeline):
            model = MaskedSeqClassificationPipeline.from_pretrained(model)
        config = model.model.config
        if config.task != "multiclass":
            raise ValueError(
                "The model must have task='multiclass', since a result has one entity type, got "
                f"{config.task!r}."
            )
        names = label_names(config, model.processor)
        unknown = sorted(set(entities or {}) - set(names))
        if unknown:
            raise ValueError(f"`entities` must name labels of the model, {names}, got {unknown}.")
        if trust is not None and not 0 <= trust <= 1:
            raise ValueError(f"`trust` must be a score between 0 and 1, got {trust!r}.")
        self.tagger, self.trust = model, trust
        self.threshold = Rule(config.task, thresholds=threshold).thresholds
        self.entities = {**dict(zip(names, names)), NO_ENTITY: None, **(entities or {})}
        self.fallback = LemmaContextAwareEnhancer() if fallback is None else fallback

    def enhance_using_context(
        self,
        text: str,
        raw_results: list[RecognizerResult],
        nlp_artifacts: NlpArtifacts,
        recognizers: list[EntityRecognizer],
        context: list[str] | None = None,
    ) -> list[RecognizerResult]:
        """Decide about the results of a text; the arguments are Presidio's.

        Returns:
            New results; those that were given stay as they are.

        Raises:
            ValueError: a text or a span that the pipeline cannot read.
        """
        trust = float("inf") if self.trust is None else self.trust
        trusted = {(one.start, one.end) for one in raw_results if one.score >= trust}
        spans = list(dict.fromkeys((one.start, one.end) for one in raw_results))
        spans = [span for span in spans if span not in trusted and text[slice(*span)].strip()]
        answers: Any = []
        if spans:
            options: dict[str, Any] = {}
            if self.threshold is not None:
                options["thresholds"] = self.threshold
            answers = self.tagger({"text": text, "spans": spans}, **options)
        by_span = dict(zip(spans, answers))
        decided, left = [], []
        for result in raw_results:
            answer = by_span.get((result.start, result.end))
            if answer is None or answer["label"] is None:
                left.append(result)
            elif (entity := self.entities[answer["label"]]) is not None:
                decided.append(_decided(result, entity, answer["score"]))
        return decided + self.fallback.enhance_using_context(
            text=text,
            raw_results=left,
            nlp_artifacts=nlp_artifacts,
            recognizers=recognizers,
            context=context,
        )


def _decided(result: RecognizerResult, entity: str, score: float) -> RecognizerResult:
    explanation = copy.deepcopy(result.analysis_explanation)
    if explanation is not None:
        explanation.set_improved_score(score)
        explanation.append_textual_explanation_line(
            f"{MaskedSeqEnhancer.__name__}: {result.entity_type} is {entity}"
        )
    metadata = {
        **(result.recognition_metadata or {}),
        RecognizerResult.IS_SCORE_ENHANCED_BY_CONTEXT_KEY: True,
    }
    return RecognizerResult(entity, result.start, result.end, score, explanation, metadata)


class _Recorder(ContextAwareEnhancer):
    """Keep the spans that an enhancer is asked about."""

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []

    def enhance_using_context(self, text: str, raw_results: Any, *_: Any, **__: Any) -> Any:
        self.spans = [(result.start, result.end) for result in raw_results]
        return []


def label_proposals(
    analyzer: AnalyzerEngine,
    records: Iterable[Record],
    language: str = "en",
    no_entity: str = NO_ENTITY,
) -> Iterator[Record]:
    """Make training data of texts with gold spans: what the recognizers propose, and what it is.

    Args:
        analyzer: whose recognizers propose spans; its own enhancer is not asked.
        records: texts with spans of one label, as `read_records` returns them.
        language: of the texts.
        no_entity: the label of a proposal that is no gold span.

    Yields:
        The records with their gold spans and the proposals beside them, in the order of the text.

    Raises:
        ValueError: a gold span that is there twice, or without exactly one label.
    """
    recorder = _Recorder()
    recording = copy.copy(analyzer)
    recording.context_aware_enhancer = recorder
    for record in records:
        text, gold = record["text"], record["spans"]
        labels = {(span["start"], span["end"]): span["labels"] for span in gold}
        if len(labels) < len(gold) or any(len(names or []) != 1 for names in labels.values()):
            raise ValueError(f"A gold span must be there once, with one label, got {gold}.")
        recording.analyze(text, language)
        proposed = {(start, end) for start, end in recorder.spans if text[start:end].strip()}
        spans = [
            {"start": start, "end": end, "labels": labels.get((start, end), [no_entity])}
            for start, end in sorted({*labels, *proposed})
        ]
        yield {**record, "spans": spans}
