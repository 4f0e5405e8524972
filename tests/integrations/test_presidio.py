"""The enhancer of Presidio: the pipeline's answers about what the recognizers find."""

from __future__ import annotations

import pickle

import pytest
import torch

from irti_custom import MaskedSeqClassificationPipeline, MaskedSeqProcessor
from tests.tiny import wide_model, word_tokenizer

presidio = pytest.importorskip("presidio_analyzer")
integration = pytest.importorskip("irti_custom.integrations.presidio")
NoOpNlpEngine = presidio.nlp_engine.NoOpNlpEngine
NO_ENTITY = integration.NO_ENTITY
NAMES = ["PERSON", NO_ENTITY, "PLACE"]
EMOJI = "\U0001f469\u200d\U0001f680"
TEXT = f"{EMOJI} Ann sees Bob in Paris . Rome , 212-555-1234 likes the cat on the dog ."
FOUND = ["Ann", "Bob", "Paris", "Rome", "cat", "dog", "212-555-1234"]


def save(folder, task="multiclass", **kwargs):
    torch.manual_seed(17)  # of which each label is the best of some span
    labels = dict(enumerate(NAMES))
    wide_model(std=0.25, task=task, num_labels=3, id2label=labels).save_pretrained(folder)
    label2id = {name: index for index, name in labels.items()}
    settings = {"max_length": 24, "label2id": label2id, "task": task, **kwargs}
    MaskedSeqProcessor(word_tokenizer(), **settings).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def folder(tmp_path):
    return save(tmp_path / "trained")


def recognizer(entity, *regexes, score=0.4, **kwargs):
    patterns = [presidio.Pattern(regex, regex, score) for regex in regexes]
    return presidio.PatternRecognizer(entity, patterns=patterns, name=entity, **kwargs)


def make_analyzer(enhancer=None, extra=(), **kwargs):
    """Presidio with recognizers that propose some spans twice, and one of its own."""
    recognizers = [
        recognizer("NAME", r"\b(Ann|Bob|Paris)\b"),
        recognizer("CITY", r"\b(Paris|Rome)\b", score=0.6),
        recognizer("PET", r"\b(cat|dog)\b", score=0.2, context=["likes"]),
        presidio.predefined_recognizers.PhoneRecognizer(),
        *extra,
    ]
    return presidio.AnalyzerEngine(
        registry=presidio.RecognizerRegistry(recognizers),
        nlp_engine=NoOpNlpEngine([{"lang_code": "en", "model_name": "no_op"}]),
        context_aware_enhancer=enhancer,
        **kwargs,
    )


def answers_of(folder, text, words=FOUND):
    """What the pipeline says: (start, end) to label and score."""
    pipe = MaskedSeqClassificationPipeline.from_pretrained(folder)
    spans = sorted((text.index(word), text.index(word) + len(word)) for word in words)
    return {
        (answer["start"], answer["end"]): (
            answer["label"],
            pytest.approx(answer["score"], abs=1e-6),
        )
        for answer in pipe({"text": text, "spans": spans})
    }


def by_span(results):
    spans = {(one.start, one.end): (one.entity_type, one.score) for one in results}
    assert len(spans) == len(results)
    return spans


def test_results_are_the_answers_of_the_pipeline_without_those_that_are_no_entity(folder):
    analyzer = make_analyzer(integration.MaskedSeqEnhancer(folder))
    answers = answers_of(folder, TEXT)
    kept = {span: answer for span, answer in answers.items() if answer[0] != NO_ENTITY}
    assert 1 < len(kept) < len(answers)
    assert {label for label, _ in kept.values()} == {"PERSON", "PLACE"}
    assert by_span(analyzer.analyze(TEXT, "en")) == kept


def test_labels_take_the_names_of_entities(folder):
    entities = {"PERSON": None, "PLACE": "LOCATION", NO_ENTITY: "OTHER"}
    analyzer = make_analyzer(integration.MaskedSeqEnhancer(folder, entities))
    expected = {
        span: (entities[label], score)
        for span, (label, score) in answers_of(folder, TEXT).items()
        if label != "PERSON"
    }
    assert by_span(analyzer.analyze(TEXT, "en")) == expected


def test_what_the_model_is_unsure_of_stays_as_presidio_has_it(folder):
    default = make_analyzer().analyze(TEXT, "en", context=["likes"])
    assert {one.score for one in default if one.entity_type == "PET"} == {0.55}  # by the context
    never = make_analyzer(integration.MaskedSeqEnhancer(folder, threshold=1.0))
    assert never.analyze(TEXT, "en", context=["likes"]) == default
    answers = answers_of(folder, TEXT)
    threshold = sorted(score.expected for _, score in answers.values())[3]
    analyzer = make_analyzer(integration.MaskedSeqEnhancer(folder, threshold=threshold))
    results = analyzer.analyze(TEXT, "en", context=["likes"])
    sure = {span for span, (_, score) in answers.items() if score.expected >= threshold}
    assert len(sure) == 4
    assert [one for one in results if (one.start, one.end) not in sure] == [
        one for one in default if (one.start, one.end) not in sure
    ]
    decided = by_span([one for one in results if (one.start, one.end) in sure])
    assert decided == {s: answers[s] for s in sure if answers[s][0] != NO_ENTITY}


def test_spans_that_a_recognizer_is_sure_of_stay_as_presidio_has_them(folder):
    default = make_analyzer().analyze(TEXT, "en", context=["likes"])
    analyzer = make_analyzer(integration.MaskedSeqEnhancer(folder, trust=0.6))
    results = analyzer.analyze(TEXT, "en", context=["likes"])
    cities = [span for span, text in spans_of(default) if text in ("Paris", "Rome")]
    assert len(cities) == 3  # "Paris" is a name with a score of 0.4, too
    assert [one for one in results if (one.start, one.end) in cities] == [
        one for one in default if (one.start, one.end) in cities
    ]
    answers = answers_of(folder, TEXT, set(FOUND) - {"Paris", "Rome"})
    assert by_span([one for one in results if (one.start, one.end) not in cities]) == {
        span: answer for span, answer in answers.items() if answer[0] != NO_ENTITY
    }


def spans_of(results):
    return [((one.start, one.end), TEXT[one.start : one.end]) for one in results]


def test_another_fallback_is_asked_about_the_rest_only(folder):
    asked = []

    class Fallback(presidio.context_aware_enhancers.LemmaContextAwareEnhancer):
        def enhance_using_context(self, text, raw_results, **kwargs):
            asked.extend((one.entity_type, text[one.start : one.end]) for one in raw_results)
            return []

    blank = recognizer("BLANK", r" (?=sees)")  # no span that a model could read
    enhancer = integration.MaskedSeqEnhancer(folder, fallback=Fallback())
    results = make_analyzer(enhancer, [blank]).analyze(TEXT, "en")
    assert asked == [("BLANK", " ")]
    assert by_span(results) == by_span(
        make_analyzer(integration.MaskedSeqEnhancer(folder)).analyze(TEXT, "en")
    )


def test_thresholds_and_requests_of_presidio_come_after_it(folder):
    analyzer = make_analyzer(integration.MaskedSeqEnhancer(folder))
    results = analyzer.analyze(TEXT, "en")
    middle = sorted(one.score for one in results)[1]
    higher = analyzer.analyze(TEXT, "en", score_threshold=middle)
    assert higher == [one for one in results if one.score >= middle]
    assert 0 < len(higher) < len(results)
    allowed = analyzer.analyze(TEXT, "en", allow_list=["Ann", "Bob", "Rome", "Paris"])
    assert {TEXT[one.start : one.end] for one in allowed}.isdisjoint({"Ann", "Bob", "Rome"})


def test_results_say_who_found_and_who_decided(folder):
    analyzer = make_analyzer(integration.MaskedSeqEnhancer(folder))
    for result in analyzer.analyze(TEXT, "en", return_decision_process=True):
        metadata, explanation = result.recognition_metadata, result.analysis_explanation
        assert metadata["recognizer_name"] in ("NAME", "CITY", "PET", "PhoneRecognizer")
        assert metadata["is_score_enhanced_by_context"] is True
        assert explanation.score == result.score
        assert explanation.textual_explanation.endswith(f" is {result.entity_type}")


def test_what_presidio_hands_over_stays_as_it_is(folder):
    unchanged = []

    class Enhancer(integration.MaskedSeqEnhancer):
        def enhance_using_context(self, text, raw_results, **kwargs):
            before = pickle.dumps(raw_results)
            results = super().enhance_using_context(text, raw_results, **kwargs)
            unchanged.append(pickle.dumps(raw_results) == before)
            return results

    make_analyzer(Enhancer(folder)).analyze(TEXT, "en", return_decision_process=True)
    assert unchanged == [True]


@pytest.mark.parametrize("text", ["", "   ", "nothing in it", EMOJI])
def test_texts_without_results(folder, text):
    assert make_analyzer(integration.MaskedSeqEnhancer(folder)).analyze(text, "en") == []


def test_long_texts_and_batches(folder):
    texts = [" ".join(["the cat sees Ann on"] * 30), "", "Bob likes Rome ."]
    enhancer = integration.MaskedSeqEnhancer(folder, {NO_ENTITY: NO_ENTITY})
    batches = presidio.BatchAnalyzerEngine(make_analyzer(enhancer))
    found = batches.analyze_iterator(texts, language="en")
    assert [len(one) for one in found] == [60, 0, 2]
    pipe = MaskedSeqClassificationPipeline.from_pretrained(folder)
    for text, results in zip(texts, found):
        results = sorted(results, key=lambda one: one.start)
        answers = pipe({"text": text, "spans": [(one.start, one.end) for one in results]})
        assert [one.entity_type for one in results] == [one["label"] for one in answers]


def test_a_pipeline_with_its_own_settings(folder):
    pipe = MaskedSeqClassificationPipeline.from_pretrained(folder, batch_size=1, top_k=2)
    ours = make_analyzer(integration.MaskedSeqEnhancer(pipe)).analyze(TEXT, "en")
    assert ours == make_analyzer(integration.MaskedSeqEnhancer(folder)).analyze(TEXT, "en")


def test_what_does_not_fit_is_refused(folder, tmp_path):
    make = integration.MaskedSeqEnhancer
    with pytest.raises(ValueError, match=r"must have task='multiclass'.* got 'multilabel'"):
        make(save(tmp_path / "multilabel", "multilabel"))
    with pytest.raises(ValueError, match=r"`entities` must name labels of the model, .*\['CITY'\]"):
        make(folder, {"CITY": "LOCATION"})
    with pytest.raises(ValueError, match="`trust` must be a score between 0 and 1, got 6"):
        make(folder, trust=6)
    with pytest.raises(ValueError, match="thresholds"):
        make(folder, threshold=2.0)
    with pytest.raises(OSError, match="nowhere"):
        make(str(tmp_path / "nowhere"))


def test_proposals_are_labelled_by_gold_spans():
    gold = [
        {"start": 0, "end": 3, "labels": ["PERSON"]},
        {"start": 0, "end": 8, "labels": ["EVENT"]},  # which nothing proposes
    ]
    records = [
        {"text": "Ann sees Paris .", "spans": gold, "id": "a"},
        {"text": "no names", "spans": []},
    ]
    analyzer = make_analyzer(extra=[recognizer("BLANK", r" (?=sees)")])
    enhancer = analyzer.context_aware_enhancer
    labelled = list(integration.label_proposals(analyzer, records))
    assert labelled == [
        {
            "text": "Ann sees Paris .",
            "spans": [*gold, {"start": 9, "end": 14, "labels": [NO_ENTITY]}],
            "id": "a",
        },
        {"text": "no names", "spans": []},
    ]
    assert analyzer.context_aware_enhancer is enhancer
    first, second = ({"start": 0, "end": 3, "labels": [name]} for name in "AB")
    for spans in ([first, second], [{**first, "labels": ["A", "B"]}], [{**first, "labels": None}]):
        with pytest.raises(ValueError, match="A gold span must be there once, with one label"):
            list(integration.label_proposals(analyzer, [{"text": "Ann", "spans": spans}]))
