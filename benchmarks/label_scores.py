"""Cost of scoring a list of labels, and of holding answers to it, beside a free answer.

The model is that of ``published_shape.py``: everything at the published size but a Llama of 135 million
parameters; random weights, windows of 10 s, two beams, one thread, all figures from one run::

    OMP_NUM_THREADS=1 python benchmarks/label_scores.py

The labels are common names of birds and others, taken evenly from the bundled table, in tokens of up to four
letters: some five a name, which is about what a vocabulary as large as Llama's makes of them. A free answer
has 32 new tokens, as in ``published_shape.py``. Beams go on until no longer answer can be better, so a held
answer may take more steps of the language model than it has tokens: the short free answer beside it has as
many steps. The two take turns, and the fastest of each counts. The sound is encoded beforehand, and counted
nowhere.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from published_shape import NEW_TOKENS, QUERY, SETTINGS, SHAPE, SMALL, VOCABULARY, build, seconds
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import GenerationConfig, PreTrainedTokenizerFast

from NatureLM.models.label_rules import LabelChoice
from NatureLM.models.label_scores import LabelScorer, presence_log_odds
from NatureLM.models.naturelm import NatureLM
from NatureLM.models.processing import NatureLMProcessor
from NatureLM.models.species import SpeciesTable

PIECES = r"<\|\w+\|>|\n\n| ?(?:assistant|audio|Answer)\b| ?[^\W\d_]{1,4}|[^\w]|\w"
"""A mark of the prompt, or one of its longer words, each one token in Llama's vocabulary too; at most four
letters of another word with the space before it; any other sign."""


def spell_in_pieces(model: NatureLM, labels: list[str]) -> set[int]:
    """Give a model a tokenizer that knows the pieces of the labels; return the tokens that end answers."""
    texts = [*labels, *(f" {label}" for label in labels), "Yes", "No", "None"]
    texts += [model.config.prompt_template, "Is there a in the audio? Answer Yes or No."]
    pieces = {chr(code) for code in range(256)} | {
        piece for text in texts for piece in re.findall(PIECES, text)
    }
    words = {piece: place for place, piece in enumerate(sorted(pieces))}
    words |= {f"w{place}": place for place in range(len(words), VOCABULARY - 1)}
    unknown, end = f"w{VOCABULARY - 2}", f"w{VOCABULARY - 3}"
    inner = Tokenizer(WordLevel(words, unk_token=unknown))
    inner.pre_tokenizer = Split(Regex(PIECES), "isolated")  # type: ignore[assignment]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token=unknown, pad_token=unknown)
    model.attach_processor(NatureLMProcessor(tokenizer, model.config))
    model.adapter.attach(tokenizer, SpeciesTable.load())
    # Random weights next to never choose the end by themselves.
    config = GenerationConfig(pad_token_id=tokenizer.pad_token_id, eos_token_id=words[end])
    model.generation_config = model.language_model.generation_config = config
    return {words[end]}


def best_seconds(runs: Sequence[Callable[[], Any]], times: int) -> list[float]:
    """Return the CPU time of calls that take turns, the least of several of each, the first not counted."""
    for run in runs:
        run()
    spent = [[seconds(run)[0] for run in runs] for _ in range(times)]
    return [min(column) for column in zip(*spent, strict=True)]


def steps_of(model: NatureLM, run: Callable[[], Any]) -> int:
    """Return how many times the language model reads one more token of each row in a call."""
    lengths: list[int] = []

    def count(_module: Any, _arguments: Any, options: dict[str, Any]) -> None:
        given = options.get("inputs_embeds")
        lengths.append((options["input_ids"] if given is None else given).shape[1])

    hook = model.language_model.model.register_forward_pre_hook(count, with_kwargs=True)
    run()
    hook.remove()
    return lengths.count(1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--labels", type=int, default=264)
    parser.add_argument("--batch", type=int, default=4, help="windows that go together, beside one alone")
    parser.add_argument("--times", type=int, default=3, help="repetitions, of which the fastest counts")
    parser.add_argument("--small", action="store_true", help="two layers each, to try the script")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = [species.common_name for species in SpeciesTable.load()]
    labels = [names[place] for place in np.linspace(0, len(names) - 1, options.labels).astype(int)]
    model = build(SMALL if options.small else SHAPE, {"encoder_layers": 2} if options.small else {})
    ends = spell_in_pieces(model, labels)
    scorer = LabelScorer(model, labels)
    choices = {
        kind: LabelChoice(labels, kind, model.processor.tokenizer, ends, NEW_TOKENS)  # type: ignore[arg-type]
        for kind in ("name", "list")
    }
    lengths = scorer.trie.depths[scorer.trie.ends]
    print(f"{len(labels)} labels of {lengths.mean():.1f} tokens, a tree of {len(scorer.trie)} nodes")

    rng = np.random.default_rng(0)
    waves = [rng.normal(0, 0.1, 160_000).astype(np.float32) for _ in range(options.batch)]
    heard = model.encode_audio(waves)
    figures: dict[str, float] = {"labels": len(labels), "tokens": float(lengths.mean())}
    for batch in dict.fromkeys((1, options.batch)):
        features, queries = heard[:batch], [QUERY] * batch
        print(f"\nwindows at once: {batch}; CPU seconds a window")

        def show(name: str, value: float, batch: int = batch) -> None:
            figures[f"{name.strip()}, batch {batch}"] = value
            print(f"{name:44s} {value:7.3f}", flush=True)

        def answered(
            length: int, kind: str = "", features: list[Any] = features, queries: list[str] = queries
        ) -> Callable[[], Any]:
            settings = replace(SETTINGS, max_new_tokens=length)
            held = [choices[kind]] * len(queries) if kind else None
            return lambda: model.answer(features, queries, settings, choices=held)

        score = lambda: scorer.logprobs(features, queries)  # noqa: B023, E731
        free, scored = best_seconds([answered(NEW_TOKENS), score], options.times)
        show("free answer, 32 tokens", free / batch)
        show("scores of all labels", scored / batch)
        show("  against the free answer (at most 6)", scored / free)
        for kind in ("name", "list"):
            held = answered(NEW_TOKENS, kind)
            texts = [answer.text for answer in held()]
            ids = [model.processor.tokenizer.encode(text, add_special_tokens=False) for text in texts]
            steps = steps_of(model, held)
            show(f"tokens of the held {kind}, its end counted", max(map(len, ids)) + 1)
            show(f"steps of the held {kind}", steps)
            took, alike = best_seconds([held, answered(steps)], options.times)
            show(f"{kind} held to the labels", took / batch)
            show(f"free answer of as many steps as the {kind}", alike / batch)
            show(f"  held {kind} against it (at most 1.3)", took / alike)
            show(f"  held {kind} against the free 32 tokens", took / free)
        if batch == 1:
            presence = best_seconds([lambda: presence_log_odds(model, features, labels)], 1)[0]  # noqa: B023
            show("Yes/No of all labels", presence)
            show("  Yes/No against the free answer", presence / free)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
