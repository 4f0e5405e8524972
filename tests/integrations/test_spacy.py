"""The component of spaCy: the pipeline's answers, where spaCy's own components put theirs."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import torch

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    MaskedSeqClassificationPipeline,
    MaskedSeqProcessor,
    export_onnx,
    get_lora_model,
)
from tests.tiny import wide_model, word_tokenizer

spacy = pytest.importorskip("spacy")
component = pytest.importorskip("irti_custom.integrations.spacy")
Doc, Span = spacy.tokens.Doc, spacy.tokens.Span

NAMES = ["person", "place", "thing"]
NAME = "masked_seq_classifier"
LONG = " ".join(["Ann sees the dog in Paris"] * 20)
# An emoji of three characters, and an accent that is a character of its own.
EMOJI = "\U0001f469\u200d\U0001f680 Ann, e\u0301 Paris!"
TEXTS = ["Ann sees the dog in Paris .", "", "no names", EMOJI, LONG]


def save(folder, task="multiclass", model=None, **kwargs):
    """A model with random weights that depends on everything, and a processor with windows."""
    torch.manual_seed(0)
    model = model or wide_model(std=0.2, task=task, num_labels=3, id2label=dict(enumerate(NAMES)))
    model.save_pretrained(folder)
    processor(task, **kwargs).save_pretrained(folder)
    return str(folder)


def processor(task="multiclass", **kwargs):
    label2id = {name: index for index, name in enumerate(NAMES)}
    settings = {"max_length": 24, "label2id": label2id, "task": task, **kwargs}
    return MaskedSeqProcessor(word_tokenizer(), **settings)


@pytest.fixture(params=["multiclass", "multilabel"])
def folder(request, tmp_path):
    return save(tmp_path / "trained", request.param)


@pytest.fixture
def multiclass(tmp_path):
    return save(tmp_path / "multiclass")


def make(folder, **config):
    nlp = spacy.blank("en")
    found = [[{"TEXT": word} for word in name.split()] for name in ("Ann", "Paris", "the dog")]
    nlp.add_pipe("entity_ruler").add_patterns(
        [{"label": "NAME", "pattern": words} for words in found]
    )
    nlp.add_pipe(NAME, config={"model": folder, "device": "cpu", **config})
    return nlp


def asked(doc, spans):
    return {"text": doc.text, "spans": [(span.start_char, span.end_char) for span in spans]}


def expected(folder, doc, spans, **options):
    """What the pipeline says: (start, end, label, score), by span and then by label id."""
    pipe = MaskedSeqClassificationPipeline.from_pretrained(folder, device="cpu", **options)
    entries = []
    for answer in pipe(asked(doc, spans)):
        labels = answer.get("labels", [answer])
        labels = [one for one in labels if one["label"] is not None]
        for one in sorted(labels, key=lambda one: NAMES.index(one["label"])):
            entries.append((answer["start"], answer["end"], one["label"], one["score"]))
    return entries


def written(doc, key="sc"):
    group = doc.spans[key]
    assert len(group) == len(group.attrs["scores"])
    return [
        (span.start_char, span.end_char, span.label_, pytest.approx(float(score), abs=1e-6))
        for span, score in zip(group, group.attrs["scores"])
    ]


def test_nothing_needs_importing_where_the_package_is_installed():
    points = [point for point in _entry_points() if point.name == NAME]
    if not points:
        pytest.skip("needs the package installed, with its entry points: pip install -e .")
    assert points[0].load() is component.make_masked_seq_classifier


def _entry_points():
    found = entry_points()
    group = "spacy_factories"  # Python 3.9 returns a dict
    return found.select(group=group) if hasattr(found, "select") else found.get(group, [])


def test_entities_get_the_answers_of_the_pipeline(folder):
    docs = list(make(folder).pipe(TEXTS, batch_size=2))
    assert [doc.text for doc in docs] == TEXTS
    for doc in docs:
        assert written(doc) == expected(folder, doc, doc.ents)
    assert sum(len(doc.spans["sc"]) for doc in docs) > 40


def test_one_document_gets_what_many_get(folder):
    nlp = make(folder)
    for text, doc in zip(TEXTS, nlp.pipe(TEXTS)):
        assert written(nlp(text)) == written(doc)


def test_overlapping_and_repeated_spans_of_a_group(folder):
    nlp = make(folder, read="spans:found", spans_key="out")
    doc = nlp.make_doc(TEXTS[0])
    spans = [doc[4:6], doc[0:1], doc[0:6], Span(doc, 0, 1, label="again")]
    doc.spans["found"] = spans
    nlp(doc)
    assert list(doc.spans) == ["found", "out"]
    assert written(doc, "out") == expected(folder, doc, spans[:3])


def test_tokens_but_white_space(folder):
    nlp = make(folder, read="tokens")
    doc = nlp("Ann  sees\n\nParis")
    assert written(doc) == expected(folder, doc, [doc[0:1], doc[2:3], doc[4:5]])


def test_noun_chunks(folder):
    nlp = make(folder, read="noun_chunks")
    words = ["the", "dog", "sees", "Ann"]
    tags = {"pos": ["DET", "NOUN", "VERB", "PROPN"], "deps": ["det", "nsubj", "ROOT", "dobj"]}
    doc = Doc(nlp.vocab, words=words, heads=[1, 2, 2, 2], **tags)
    chunks = list(doc.noun_chunks)
    assert [chunk.text for chunk in chunks] == ["the dog", "Ann"]
    assert written(nlp(doc)) == expected(folder, doc, chunks)


def spancat(labels, scores, **settings):
    """Let spaCy's span categorizer write scores that are given."""
    nlp = spacy.blank("en")
    suggester = {"@misc": "spacy.preset_spans_suggester.v1", "spans_key": "found"}
    pipe = nlp.create_pipe("spancat", config={"spans_key": "sc", "suggester": suggester})
    pipe.cfg.update(settings)
    for label in labels:
        pipe.add_label(label)

    def write(doc):
        indices = pipe.suggester([doc], ops=pipe.model.ops)
        pipe.set_annotations([doc], (indices, np.array(scores, dtype=np.float32)))

    return write


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_written_as_the_span_categorizer_writes(task, tmp_path):
    folder = save(tmp_path / "trained", task)
    nlp = make(folder, read="spans:found", thresholds=0.4)
    doc = nlp.make_doc(TEXTS[0])
    doc.spans["found"] = [doc[0:1], doc[4:6], doc[2:4], doc[6:7]]
    nlp(doc)
    pipe = MaskedSeqClassificationPipeline.from_pretrained(folder, device="cpu")
    answers = pipe(asked(doc, doc.spans["found"]), return_all_scores=True)
    by_name = [{one["label"]: one["score"] for one in answer["labels"]} for answer in answers]
    scores = [[one[name] for name in NAMES] for one in by_name]
    settings = {"threshold": 0.4, "max_positive": 1 if task == "multiclass" else None}
    other = nlp.make_doc(TEXTS[0])
    other.spans["found"] = [other[0:1], other[4:6], other[2:4], other[6:7]]
    spancat(NAMES, scores, **settings)(other)
    ours, theirs = doc.spans["sc"], other.spans["sc"]
    assert 0 < len(ours) < 4 * len(NAMES)
    assert [str(s) for s in ours] == [str(s) for s in theirs]
    assert [s.label_ for s in ours] == [s.label_ for s in theirs]
    assert (ours.name, ours.attrs.keys()) == (theirs.name, theirs.attrs.keys())
    np.testing.assert_allclose(ours.attrs["scores"], np.ravel(theirs.attrs["scores"]), atol=1e-6)
    assert ours.attrs["scores"].dtype == theirs.attrs["scores"].dtype


def test_rejected_spans_leave_no_score_unless_all_are_asked_for(folder):
    doc = make(folder, thresholds=1.0)(TEXTS[0])
    assert written(doc) == []
    doc = make(folder, thresholds=1.0, return_all_scores=True)(TEXTS[0])
    assert written(doc) == expected(folder, doc, doc.ents, return_all_scores=True)
    assert len(doc.spans["sc"]) == 9
    doc = make(folder, top_k=2)(TEXTS[0])
    assert written(doc) == expected(folder, doc, doc.ents, top_k=2)


def test_thresholds_by_name(tmp_path):
    folder = save(tmp_path / "trained", "multilabel")
    thresholds = {"person": 0.9, "place": 0.1, "thing": 0.5}
    doc = make(folder, thresholds=thresholds)(TEXTS[0])
    assert written(doc) == expected(folder, doc, doc.ents, thresholds=thresholds)


def test_entities_are_relabelled_and_rejected_ones_removed(multiclass):
    nlp = make(multiclass, set_ents=True)
    doc = nlp.make_doc(TEXTS[0])
    ent = Span(doc, 5, 6, label="OLD", kb_id="Q90", span_id="x")
    doc.set_ents([Span(doc, 0, 1, label="OLD"), ent])
    nlp.get_pipe(NAME)(doc)
    assert [(e.text, e.label_) for e in doc.ents] == [(s.text, s.label_) for s in doc.spans["sc"]]
    assert (doc.ents[1].kb_id_, doc.ents[1].id_) == ("Q90", "x")
    scores = doc.spans["sc"].attrs["scores"]
    threshold = float(scores.mean())  # between the two
    make(multiclass, set_ents=True, thresholds=threshold).get_pipe(NAME)(doc)
    assert [e.label_ for e in doc.ents] == [s.label_ for s in doc.spans["sc"]]
    assert len(doc.ents) == 1


def test_spans_that_the_processor_drops_stay_as_they_are(tmp_path):
    folder = save(tmp_path / "trained", on_overflow="drop", max_length=6)
    doc = make(folder, set_ents=True, extension="maybe")(TEXTS[0])
    labelled = [(span.text, span.label_) for span in doc.spans["sc"]]
    assert labelled[0][0] == "Ann"
    assert [(ent.text, ent.label_) for ent in doc.ents] == [*labelled, ("Paris", "NAME")]
    assert [ent._.maybe is None for ent in doc.ents] == [False] * len(labelled) + [True]


def test_labels_of_a_span_in_an_extension(folder):
    nlp = make(folder, extension="labels", top_k=2)
    pipe = MaskedSeqClassificationPipeline.from_pretrained(folder, device="cpu", top_k=2)
    for doc in nlp.pipe([TEXTS[0], TEXTS[3]]):
        for ent, answer in zip(doc.ents, pipe(asked(doc, doc.ents))):
            labels = [one["label"] for one in ent._.labels]
            assert labels == [one["label"] for one in answer["labels"]]
        assert doc[1:2]._.labels is None


def test_saved_pipelines_hold_the_model(folder, tmp_path):
    nlp = make(folder, thresholds=0.2, extension="labels")
    before = [written(doc) for doc in nlp.pipe(TEXTS)]
    nlp.to_disk(tmp_path / "nlp")
    data = nlp.to_bytes()
    shutil.rmtree(folder)
    loaded = spacy.load(tmp_path / "nlp")
    assert [written(doc) for doc in loaded.pipe(TEXTS)] == before
    assert loaded.config["components"] == nlp.config["components"]
    assert loaded.pipe_labels[NAME] == NAMES
    loaded.to_disk(tmp_path / "nlp")  # over itself
    assert [written(doc) for doc in spacy.load(tmp_path / "nlp").pipe(TEXTS)] == before
    shutil.rmtree(tmp_path / "nlp")
    unpacked = spacy.util.load_model_from_config(nlp.config).from_bytes(data)
    assert [written(doc) for doc in unpacked.pipe(TEXTS)] == before
    assert unpacked.to_bytes() == data


def test_config_makes_the_same_pipeline(folder, tmp_path):
    nlp = make(folder, thresholds=0.2, read="tokens")
    nlp.config.to_disk(tmp_path / "config.cfg")
    config = spacy.util.load_config(tmp_path / "config.cfg")
    again = spacy.util.load_model_from_config(config)
    assert written(again(TEXTS[0])) == written(nlp(TEXTS[0]))


def test_a_process_that_is_spawned_gets_the_settings_and_loads_the_model(folder):
    pipe = make(folder).get_pipe(NAME)
    pipe.load()
    doc = make(folder)(TEXTS[0])
    assert len(pickle.dumps(pipe)) < 5000
    copied = pickle.loads(pickle.dumps(pipe))
    assert written(copied(doc.copy())) == written(doc)


def test_adapters_are_saved_whole(tmp_path):
    base = wide_model(std=0.2, task="multiclass", num_labels=3, id2label=dict(enumerate(NAMES)))
    base.save_pretrained(tmp_path / "base")
    lora = get_lora_model(AutoModelForMaskedSeqModeling.from_pretrained(tmp_path / "base"), r=2)
    for name, weight in lora.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.2)
    nlp = make(save(tmp_path / "lora", model=lora))
    before = [written(doc) for doc in nlp.pipe(TEXTS)]
    nlp.to_disk(tmp_path / "nlp")
    assert [written(doc) for doc in nlp.pipe(TEXTS)] == before
    shutil.rmtree(tmp_path / "base")
    shutil.rmtree(tmp_path / "lora")
    after = [written(doc) for doc in spacy.load(tmp_path / "nlp").pipe(TEXTS)]
    for one, other in zip(before, after):
        assert [entry[:3] for entry in one] == [entry[:3] for entry in other]
        np.testing.assert_allclose(*([e[3].expected for e in x] for x in (one, other)), atol=1e-5)


def test_workers_get_what_one_process_gets(folder):
    assert run_alone(folder) == ""


def run_alone(folder, *options):
    """Call `check_workers` in a new process: one that forks must not have run OpenVINO.

    Returns what went wrong, "" for nothing.
    """
    script = f"import sys; from {__name__} import check_workers; check_workers(*sys.argv[1:])"
    command = [sys.executable, "-c", script, folder, *options]
    root = Path(__file__).parent.parent.parent
    run = subprocess.run(command, cwd=root, capture_output=True, text=True)
    return run.stderr or "no reason given" if run.returncode else ""


def check_workers(folder, runtime=None):
    torch.set_num_threads(2)  # of which a worker has none
    nlp = make(folder, extension="labels", runtime=runtime)
    alone, helped = (list(nlp.pipe(TEXTS, n_process=n, batch_size=2)) for n in (1, 2))
    assert [written(doc) for doc in helped] == [written(doc) for doc in alone]
    assert sum(len(doc.spans["sc"]) for doc in alone) > 40
    for one, other in zip(alone, helped):
        ours, theirs = ([ent._.labels for ent in doc.ents] for doc in (one, other))
        assert [[one["label"] for one in labels] for labels in ours] == [
            [one["label"] for one in labels] for labels in theirs
        ]


def test_exported_graphs_run_and_are_saved(multiclass, tmp_path):
    pytest.importorskip("onnxscript")
    tagger = MaskedSeqClassificationPipeline.from_pretrained(multiclass, device="cpu")
    export_onnx(tagger.model, tmp_path / "graph", processor=tagger.processor)
    assert run_alone(str(tmp_path / "graph"), "onnxruntime") == ""
    nlp = make(str(tmp_path / "graph"), runtime="onnxruntime")
    before = [written(doc) for doc in nlp.pipe(TEXTS)]
    nlp.to_disk(tmp_path / "nlp")
    data = nlp.to_bytes()
    shutil.rmtree(tmp_path / "graph")
    assert [written(doc) for doc in spacy.load(tmp_path / "nlp").pipe(TEXTS)] == before
    unpacked = spacy.util.load_model_from_config(nlp.config).from_bytes(data)
    assert [written(doc) for doc in unpacked.pipe(TEXTS)] == before


def test_evaluation_scores_the_group(multiclass):
    nlp = make(multiclass)
    doc = nlp(TEXTS[0])
    assert doc.spans["sc"]
    gold = nlp.make_doc(TEXTS[0])
    first, *rest = doc.spans["sc"]
    spans = [Span(gold, first.start, first.end, first.label_)]
    spans += [Span(gold, span.start, span.end, "other") for span in rest]
    gold.spans["sc"] = spacy.tokens.SpanGroup(gold, name="sc", spans=spans)
    scores = nlp.evaluate([spacy.training.Example(nlp.make_doc(TEXTS[0]), gold)])
    assert scores["spans_sc_f"] == pytest.approx(1 / 3)


def test_errors_go_to_the_handler_with_the_documents_at_fault(multiclass):
    nlp = make(multiclass, read="spans:found")
    docs = [nlp.make_doc(text) for text in TEXTS[:1] * 3]
    docs[0].spans["found"], docs[2].spans["found"] = [docs[0][0:1]], []
    with pytest.raises(ValueError, match=r"needs doc\.spans\['found'\], and this document has"):
        list(nlp.pipe(docs))
    failed = []
    nlp.set_error_handler(lambda name, component, docs, error: failed.extend(docs))
    assert [id(doc) for doc in nlp.pipe(docs)] == [id(docs[0]), id(docs[2])]
    assert failed == [docs[1]]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"read": "words"}, r'`read` must be one of .* or "spans:KEY", got \'words\''),
        ({"read": "spans:"}, "`read` must be one of"),
        ({"read": "tokens", "set_ents": True}, "set_ents=True needs read='ents'"),
        ({"batch_size": 0}, "`batch_size` must be a whole number of at least 1"),
        ({"batch_size": "many"}, "'many' is not"),
        ({"nonsense": 1}, "unexpected argument"),
    ],
)
def test_settings_that_are_wrong_are_refused_at_once(config, message):
    with pytest.raises(ValueError, match=message):
        spacy.blank("en").add_pipe(NAME, config={"model": "trained", **config})


def test_what_does_not_load_says_so(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        make(str(tmp_path / "nowhere"))(TEXTS[0])
    with pytest.raises(ValueError, match="set_ents=True needs a model with task='multiclass'"):
        make(save(tmp_path / "trained", "multilabel"), set_ents=True)(TEXTS[0])
    pipe = make("trained").get_pipe(NAME)
    with pytest.raises(OSError, match=r"holds no model: it has no config\.json"):
        pipe.from_disk(tmp_path)
    with pytest.raises(ValueError, match="must lie in the folder of the model"):
        pipe.from_bytes(component.srsly.msgpack_dumps({"../config.json": b"{}"}))
