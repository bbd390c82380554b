"""The bundled model's answers: about evidence written by hand, alone and in batches."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from NatureLM.errors import ConfigError
from NatureLM.models.answering import AnswerSettings
from NatureLM.models.naturelm import NatureLM

FOCAL = "What is the common name for the focal species in the audio?"
LIST = "What are the common names for the species in the audio, if any?"


@pytest.fixture(scope="module")
def model() -> NatureLM:
    return NatureLM.from_pretrained("bundled")


def window(model: NatureLM, **peaks: float) -> torch.Tensor:
    """Logits of four segments: -9 but for the named classes, which peak in the third segment."""
    table = model.adapter.table
    logits: npt.NDArray[np.float32] = np.full((4, len(table)), -9.0, dtype=np.float32)
    for name, peak in peaks.items():
        species = table.find(name.replace("_", " "))
        assert species is not None, name
        logits[2, species.class_index] = peak
    return torch.from_numpy(logits)


def ask(model: NatureLM, features: torch.Tensor, query: str, **settings: float) -> str:
    (answer,) = model.answer([features], [query], AnswerSettings(**settings))  # type: ignore[arg-type]
    return answer.text


def test_names_the_strongest_animal_in_the_form_asked_for(model: NatureLM) -> None:
    two = window(model, Great_Tit=3.0, Common_Cuckoo=1.0)
    assert ask(model, two, LIST) == "Great Tit, Common Cuckoo"
    assert ask(model, two, LIST, num_beams=2) == "Great Tit, Common Cuckoo"
    features = window(model, Great_Tit=3.0, Common_Cuckoo=1.0, Engine_noise=6.0)
    assert ask(model, features, FOCAL) == "Great Tit"
    assert ask(model, features, "What is the scientific name for the focal species in the audio?") == (
        "Parus major"
    )
    assert ask(model, features, "What is the family for the focal species in the audio?") == "Paridae"
    assert ask(model, features, LIST) == "Great Tit, Common Cuckoo"
    assert ask(model, features, "Caption the audio") == (
        "A recording of Great Tit and Common Cuckoo, with engine noise in the background."
    )


def test_nothing_above_the_floor_is_none(model: NatureLM) -> None:
    features = window(model, Great_Tit=-2.0)
    assert ask(model, features, FOCAL) == "None"
    assert ask(model, features, LIST) == "None"
    assert ask(model, features, "Caption the audio.") == "No animal species is heard."
    assert ask(model, features, LIST, min_evidence=0.1) == "Great Tit"


def test_options_and_yes_or_no(model: NatureLM) -> None:
    features = window(model, Great_Tit=3.0, Common_Cuckoo=1.0, Spring_Peeper=0.5)
    which = "Which of these, if any, are present in the audio recording? Mallard, Common Cuckoo, Blue Jay"
    assert ask(model, features, which) == "Common Cuckoo"
    assert ask(model, features, "Is there a bird in the audio? Answer Yes or No.") == "Yes"
    assert ask(model, features, "Is there a mammal in the audio? Answer Yes or No.") == "No"
    assert ask(model, features, "Is there a Common Cuckoo in the audio? Answer Yes or No.") == "Yes"
    assert ask(model, features, "Is there a Mallard in the audio? Answer Yes or No.") == "No"


def test_says_what_it_cannot_know(model: NatureLM) -> None:
    features = window(model, Great_Tit=3.0)
    query = "What is the life stage of the focal species in the audio?"
    assert ask(model, features, query) == "I cannot tell from this model."


def test_detections_carry_the_evidence(model: NatureLM) -> None:
    features = window(model, Great_Tit=3.0, Common_Cuckoo=1.0, Engine_noise=6.0)
    (answer,) = model.answer([features], ["Caption the audio"])
    named = [(item.common_name, item.scientific_name, item.score) for item in answer.detections]
    assert named == [("Great Tit", "Parus major", 0.9526), ("Common Cuckoo", "Cuculus canorus", 0.7311)]
    assert 0.0 < answer.confidence <= 1.0
    assert answer.confidence == pytest.approx(np.exp(answer.mean_logprob))


def test_queries_that_cannot_be_asked_are_refused(model: NatureLM) -> None:
    features = window(model, Great_Tit=3.0)
    assert ask(model, features, "<Audio><AudioHere></Audio> " + FOCAL) == "Great Tit"
    with pytest.raises(ConfigError, match="holds 2 <AudioHere> but 1 recordings"):
        model.check_query("<AudioHere> or <AudioHere>?")
    with pytest.raises(ConfigError, match="naturelm-lite reads at most 1024"):
        model.check_query("what " * 3000)
    with pytest.raises(ConfigError, match="exceed the 2048 that naturelm-lite can read"):
        ask(model, features, FOCAL, max_new_tokens=2040)


def test_generate_is_transformers_own(model: NatureLM) -> None:
    query = model.processor.normalise(FOCAL)
    context = model.adapter.context(window(model, Great_Tit=3.0), query, AnswerSettings())
    with torch.inference_mode():
        embeds, mask = model.embed_prompts([query], [[context]])
        ids = model.generate(inputs_embeds=embeds, attention_mask=mask, max_new_tokens=20, do_sample=False)
    assert model.processor.decode(ids[0].tolist()) == "Great Tit"


def mixed_questions(model: NatureLM) -> tuple[list[torch.Tensor], list[str]]:
    features = [
        window(model),
        window(model, Great_Tit=3.0),
        window(model, Mallard=2.0, Common_Cuckoo=1.0, Eurasian_Wren=0.5, Great_Tit=0.2, Dog=0.1),
        window(model, Siren=1.0),
        window(model, Spring_Peeper=4.0, American_Bullfrog=2.0),
    ]
    queries = [
        FOCAL,
        "Species?",
        LIST,
        "Caption the audio, using the scientific name for any animal species.",
        "Which of these, if any, are present in the audio recording? "
        "Spring Peeper, Mallard, Wood Frog, American Bullfrog, Green Treefrog, Blue Jay",
    ]
    return features, queries


@pytest.mark.parametrize("num_beams", [1, 2])
def test_an_answer_does_not_depend_on_its_batch(model: NatureLM, num_beams: int) -> None:
    features, queries = mixed_questions(model)
    settings = AnswerSettings(num_beams=num_beams)
    together = model.answer(features, queries, settings)
    backwards = model.answer(features[::-1], queries[::-1], settings)[::-1]
    for place, (window_features, query) in enumerate(zip(features, queries, strict=True)):
        (alone,) = model.answer([window_features], [query], settings)
        for answer in (together[place], backwards[place]):
            assert answer.text == alone.text
            assert answer.mean_logprob == pytest.approx(alone.mean_logprob, abs=1e-4)
            assert answer.detections == alone.detections


def test_first_step_logits_do_not_depend_on_the_padding(model: NatureLM) -> None:
    features, queries = mixed_questions(model)
    asked = [model.processor.normalise(query) for query in queries]
    contexts = [
        [model.adapter.context(window_features, query, AnswerSettings())]
        for window_features, query in zip(features, asked, strict=True)
    ]
    with torch.inference_mode():
        embeds, mask = model.embed_prompts(asked, contexts)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        together = model(inputs_embeds=embeds, attention_mask=mask, position_ids=positions).logits[:, -1]
        for row, (query, context) in enumerate(zip(asked, contexts, strict=True)):
            alone, _ = model.embed_prompts([query], [context])
            logits = model(inputs_embeds=alone).logits[0, -1]
            torch.testing.assert_close(together[row], logits, atol=1e-4, rtol=0)


def test_raising_the_floor_only_removes_names(model: NatureLM) -> None:
    features = window(model, Great_Tit=3.0, Common_Cuckoo=1.5, Mallard=0.5, Blue_Jay=-0.5, Dunlin=-1.5)
    before = set(ask(model, features, LIST, min_evidence=0.05).split(", "))
    assert len(before) == 5
    for floor in (0.25, 0.4, 0.7, 0.9):
        after = set(ask(model, features, LIST, min_evidence=floor).split(", "))
        assert after < before
        before = after
    assert ask(model, features, LIST, min_evidence=0.99) == "None"


def test_encoding_does_not_depend_on_the_batch(model: NatureLM) -> None:
    rng = np.random.default_rng(0)
    waves = [rng.normal(0, 0.1, size=size).astype(np.float32) for size in (480_000, 30_000, 150_000)]
    together = model.encode_audio(waves)
    assert [len(features) for features in together] == [4, 1, 2]
    for wave, features in zip(waves, together, strict=True):
        (alone,) = model.encode_audio([wave])
        np.testing.assert_allclose(features, alone, atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (AnswerSettings(max_species=11), r"--max-species 11: this model names from 0 to 10 species"),
        (AnswerSettings(min_evidence=1.5), r"--min-evidence 1.5: expected a number from 0 to 1"),
    ],
)
def test_settings_that_cannot_be_honoured_are_refused(
    model: NatureLM, settings: AnswerSettings, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        model.adapter.check(settings)


def test_groups_are_asked_for_by_their_noun(model: NatureLM) -> None:
    owl = window(model, Boreal_Owl=2.0)
    assert ask(model, owl, "Is there an owl in the audio?") == "Yes"
    assert ask(model, owl, "Is there a woodpecker in the audio?") == "No"
    assert ask(model, window(model, Sandhill_Crane=3.0), "Is there an owl in the audio?") == "No"
    assert ask(model, window(model, Snowy_Tree_Cricket=3.0), "Is there a frog in the audio?") == "No"
