"""Presidio with its patterns alone, and with a model that decides about what they find.

    python benchmarks/presidio.py ../shared/data/presidio_pii --seeds 0 1 2

"candidates" adds a recognizer that proposes every capitalised word or run of words and every
number, which only a model can tell apart; `trust` is the enhancer's. Printed for exact spans with
their types, and for spans alone: precision, recall and F1 over all gold spans of the test texts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import spacy
import tldextract
from presidio_analyzer import AnalyzerEngine, Pattern, PatternRecognizer
from presidio_analyzer.nlp_engine import SpacyNlpEngine
from spacy.language import Language

from irti_custom import read_records, write_records
from irti_custom.integrations.presidio import MaskedSeqEnhancer, label_proposals

SPLITS = ("train", "validation", "test")
ENTITIES = {"DOMAIN_NAME": "URL"}  # what Presidio calls it
# The list of top-level domains in the package, in place of the one on the network.
tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())


@Language.component("words_as_lemmas")  # Presidio looks for its context words among lemmas
def words_as_lemmas(doc: Any) -> Any:
    for token in doc:
        token.lemma_ = token.lower_
    return doc


class BlankEngine(SpacyNlpEngine):
    """Presidio's engine around spaCy's tokenizer alone."""

    def load(self) -> None:
        """Make the tokenizer."""
        self.nlp = {"en": spacy.blank("en")}
        self.nlp["en"].add_pipe("words_as_lemmas")


def make_analyzer(candidates: bool, enhancer: MaskedSeqEnhancer | None = None) -> AnalyzerEngine:
    analyzer = AnalyzerEngine(nlp_engine=BlankEngine(), context_aware_enhancer=enhancer)
    if candidates:
        name = r"[A-Z][\w'.&-]*"
        regexes = (rf"{name}(?: {name})+", name, r"\d+")
        patterns = [Pattern(regex, regex, score=0.01) for regex in regexes]
        recognizer = PatternRecognizer("CANDIDATE", patterns=patterns, global_regex_flags=0)
        analyzer.registry.add_recognizer(recognizer)
    return analyzer


def resolve(results: list[Any]) -> set[tuple[int, int, str]]:
    """Keep the longest of results that contain each other, and the surest type of a span."""
    kept: list[Any] = []
    for result in sorted(results, key=lambda one: (one.start - one.end, -one.score)):
        if not any(result.contained_in(other) for other in kept):
            kept.append(result)
    return {(one.start, one.end, one.entity_type) for one in kept}


def scores(found: set[Any], gold: set[Any]) -> str:
    hits = len(found & gold)
    precision, recall = hits / max(len(found), 1), hits / len(gold)
    f1 = 2 * hits / (len(found) + len(gold))
    return f"{precision:.3f} {recall:.3f} {f1:.3f}"


def evaluate(name: str, analyzer: AnalyzerEngine, records: list[dict[str, Any]]) -> None:
    analyzer.analyze("Call 212-555-1234 to talk to Ann.", "en")  # loads what is loaded once
    start = time.process_time()
    results = [analyzer.analyze(record["text"], "en") for record in records]
    seconds = (time.process_time() - start) / len(records)
    found = {(i, *one) for i, listed in enumerate(results) for one in resolve(listed)}
    gold = {
        (i, span["start"], span["end"], ENTITIES.get(span["labels"][0], span["labels"][0]))
        for i, record in enumerate(records)
        for span in record["spans"]
    }
    alone = scores({one[:3] for one in found}, {one[:3] for one in gold})
    print(f"{name:32} {scores(found, gold)}   {alone}   {1000 * seconds:6.1f} ms", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with train, validation and test")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--output_dir", type=Path, default=Path("out/presidio"))
    options, of_finetune = parser.parse_known_args()
    options.output_dir.mkdir(parents=True, exist_ok=True)
    records = {split: read_records(options.data / f"{split}.jsonl.gz") for split in SPLITS}
    script = Path(__file__).parent.parent / "examples" / "finetune.py"
    command = [sys.executable, str(script), "--task", "multiclass", *of_finetune]
    for split in SPLITS:
        file = options.output_dir / f"{split}.jsonl"
        write_records(label_proposals(make_analyzer(candidates=True), records[split]), file)
        command += [f"--{split}_file", str(file)]
    print(f"{'':32} span and type       span alone          CPU per text")
    evaluate("patterns", make_analyzer(candidates=False), records["test"])
    for seed in options.seeds:
        folder = str(options.output_dir / f"seed_{seed}")
        if not Path(folder, "test_results.json").exists():
            subprocess.run([*command, "--seed", str(seed), "--output_dir", folder], check=True)
        for trust in (None, 0.6):
            enhancer = MaskedSeqEnhancer(folder, ENTITIES, trust=trust)
            for candidates, name in ((False, "patterns"), (True, "candidates")):
                analyzer = make_analyzer(candidates, enhancer)
                evaluate(f"{name}, trust={trust}, seed {seed}", analyzer, records["test"])


if __name__ == "__main__":
    main()
