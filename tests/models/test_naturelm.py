"""The bundled model's answers: about evidence written by hand, alone, in conversations and in batches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch

from NatureLM.errors import ConfigError
from NatureLM.models.adapters.species_tokens import SpeciesTokensAdapter
from NatureLM.models.answering import AnswerSettings, Turn
from NatureLM.models.naturelm import NatureLM
from NatureLM.training.answers import answer_forms

FOCAL = "What is the common name for the focal species in the audio?"
LIST = "What are the common names for the species in the audio, if any?"
UNKNOWN = "I cannot tell from this model."

MakeFeatures = Callable[..., torch.Tensor]


@pytest.fixture(scope="module")
def model() -> NatureLM:
    return NatureLM.from_pretrained("bundled")


@pytest.fixture(scope="module")
def window(make_window: Callable[..., npt.NDArray[np.float32]]) -> MakeFeatures:
    """Logits of four segments as the encoder gives them: -9 but for the named classes."""
    return lambda **peaks: torch.from_numpy(make_window(**peaks))


@pytest.fixture(scope="module")
def two_birds(window: MakeFeatures) -> torch.Tensor:
    return window(Great_Tit=3.0, Common_Cuckoo=1.0)


@pytest.fixture(scope="module")
def two_recordings(window: MakeFeatures) -> list[torch.Tensor]:
    """A cuckoo in both, but another focal species; the first has one species more."""
    return [
        window(Great_Tit=3.0, Common_Cuckoo=1.0, Mallard=0.5),
        window(Spring_Peeper=2.0, Common_Cuckoo=0.5, Engine_noise=1.0),
    ]


def ask(
    model: NatureLM, features: torch.Tensor | list[torch.Tensor], query: str, *turns: Turn, **settings: float
) -> str:
    """Return the answer to a question, or to one that follows on others."""
    (answer,) = model.answer([features], [query], AnswerSettings(**settings), [turns])  # type: ignore[arg-type]
    return answer.text


def test_names_the_strongest_animal_in_the_form_asked_for(
    model: NatureLM, window: MakeFeatures, two_birds: torch.Tensor
) -> None:
    assert ask(model, two_birds, LIST) == "Great Tit, Common Cuckoo"
    assert ask(model, two_birds, LIST, num_beams=2) == "Great Tit, Common Cuckoo"
    features = window(Great_Tit=3.0, Common_Cuckoo=1.0, Engine_noise=6.0)
    assert ask(model, features, FOCAL) == "Great Tit"
    assert ask(model, features, "What is the scientific name for the focal species in the audio?") == (
        "Parus major"
    )
    assert ask(model, features, "What is the family for the focal species in the audio?") == "Paridae"
    assert ask(model, features, LIST) == "Great Tit, Common Cuckoo"
    assert ask(model, features, "Caption the audio") == (
        "A recording of Great Tit and Common Cuckoo, with engine noise in the background."
    )


def test_nothing_above_the_floor_is_none(model: NatureLM, window: MakeFeatures) -> None:
    features = window(Great_Tit=-2.0)
    assert ask(model, features, FOCAL) == "None"
    assert ask(model, features, LIST) == "None"
    assert ask(model, features, "Caption the audio.") == "No animal species is heard."
    assert ask(model, features, LIST, min_evidence=0.1) == "Great Tit"


def test_options_and_yes_or_no(model: NatureLM, window: MakeFeatures) -> None:
    features = window(Great_Tit=3.0, Common_Cuckoo=1.0, Spring_Peeper=0.5)
    which = "Which of these, if any, are present in the audio recording? Mallard, Common Cuckoo, Blue Jay"
    assert ask(model, features, which) == "Common Cuckoo"
    assert ask(model, features, "Is there a bird in the audio? Answer Yes or No.") == "Yes"
    assert ask(model, features, "Is there a mammal in the audio? Answer Yes or No.") == "No"
    assert ask(model, features, "Is there a Common Cuckoo in the audio? Answer Yes or No.") == "Yes"
    assert ask(model, features, "Is there a Mallard in the audio? Answer Yes or No.") == "No"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Is it true that there are no frogs in the audio?", "Yes"),
        ("Is it true that there are no birds in the audio?", "No"),
        ("Is it true that there is no Mallard in the audio?", "Yes"),
        ("Is it true that there is no Common Cuckoo in the audio?", "No"),
        ("Is the recording free of owls?", "Yes"),
        ("Are there no animals in the recording?", "No"),
    ],
)
def test_negations(model: NatureLM, two_birds: torch.Tensor, query: str, expected: str) -> None:
    assert ask(model, two_birds, query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("What are the common and scientific names of the focal species?", "Great Tit (Parus major)"),
        ("What are the common name and the family of the focal species?", "Great Tit (Paridae)"),
        ("Is there a frog in the audio, and if so, which?", "Spring Peeper"),
        ("Is there a mammal in the audio, and if so, which?", "None"),
        ("How many species are in the audio, and which?", "3: Great Tit, Common Cuckoo, Spring Peeper"),
        (
            "List the species in the audio with common and scientific names.",
            "Great Tit (Parus major), Common Cuckoo (Cuculus canorus), Spring Peeper (Pseudacris crucifer)",
        ),
        ("What are the common names for the birds in the audio?", "Great Tit, Common Cuckoo"),
        ("What are the families of the species in the audio?", "Paridae, Cuculidae, Hylidae"),
        ("Is there an engine in the audio?", "No"),
        # Names come in one order, whichever the question names first.
        ("What are the scientific and common names of the focal species?", "Great Tit (Parus major)"),
        ("Which family does this frog belong to?", "Hylidae"),
        (
            "What is the taxonomic name for the focal species in the audio?",
            "Passeriformes Paridae Parus major",
        ),
        ("What is the genus of the frog in the audio?", "Pseudacris"),
        ("What are the orders of the species in the audio?", "Passeriformes, Cuculiformes, Anura"),
    ],
)
def test_mixed_requests(model: NatureLM, window: MakeFeatures, query: str, expected: str) -> None:
    features = window(Great_Tit=3.0, Common_Cuckoo=1.0, Spring_Peeper=0.5)
    assert ask(model, features, query) == expected


@pytest.mark.parametrize(
    "query",
    [
        "What is the life stage of the focal species in the audio?",
        "What call types are heard from the focal species in the audio?",
        "How many birds are in the audio? Choose between 1, 2, 3 or 4.",
        "Is the caller male or female?",
        "Where was this recorded?",
        # Animals that the encoder does not know: that they are not there cannot be said.
        "Is there a humpback whale in the audio?",
        "Is there an elephant in the audio? Answer Yes or No.",
        "Can you hear a bat?",
    ],
)
def test_says_what_it_cannot_know(model: NatureLM, two_birds: torch.Tensor, query: str) -> None:
    assert ask(model, two_birds, query) == UNKNOWN


@pytest.mark.parametrize(
    ("turns", "query", "expected"),
    [
        ([(FOCAL, "Great Tit")], "And its scientific name?", "Parus major"),
        ([(FOCAL, "Great Tit")], "And its family?", "Paridae"),
        ([(FOCAL, "Great Tit")], "Is it a bird?", "Yes"),
        ([(FOCAL, "Great Tit")], "Is it a frog?", "No"),
        ([(FOCAL, "Great Tit")], "Which other species are in the audio?", "Common Cuckoo"),
        ([(FOCAL, "Great Tit")], "Is it male or female?", UNKNOWN),
        ([(FOCAL, "Great Tit")], "Thank you very much!", "You are welcome."),
        ([(FOCAL, "Great Tit"), ("Anything else?", "Common Cuckoo")], "And who else?", "None"),
        ([(LIST, "Great Tit, Common Cuckoo")], "And their scientific names?", "Parus major, Cuculus canorus"),
        ([(LIST, "Great Tit, Common Cuckoo")], "How many is that?", "2"),
        (
            [(FOCAL, "Great Tit"), ("And its family?", "Paridae")],
            "And its order?",
            "Passeriformes",
        ),
        (
            [("Which species is second strongest?", "Common Cuckoo")],
            "And its scientific name?",
            "Cuculus canorus",
        ),
        ([("Is there a mallard in the audio?", "No")], "And a common cuckoo?", "Yes"),
        ([("Is there a great tit in the audio?", "Yes")], "And a frog?", "No"),
        # A question that could stand by itself means what it means without the turn before.
        ([("Is there a mallard in the audio?", "No")], LIST, "Great Tit, Common Cuckoo"),
    ],
)
def test_follow_ups(
    model: NatureLM, two_birds: torch.Tensor, turns: list[tuple[str, str]], query: str, expected: str
) -> None:
    assert ask(model, two_birds, query, *(Turn(*turn) for turn in turns)) == expected


def test_follow_ups_on_none(model: NatureLM, window: MakeFeatures) -> None:
    assert ask(model, window(), "And its scientific name?", Turn(FOCAL, "None")) == "None"


def test_the_models_own_answer_can_be_followed_up(model: NatureLM, two_birds: torch.Tensor) -> None:
    first = ask(model, two_birds, FOCAL)
    assert ask(model, two_birds, "And its scientific name?", Turn(FOCAL, first)) == "Parus major"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Is the focal species the same in both recordings?", "No"),
        ("What is the focal species of the second recording?", "Spring Peeper"),
        ("Which species are in the first recording?", "Great Tit, Common Cuckoo, Mallard"),
        ("Which recording has a frog in it?", "The second."),
        ("In which of the two recordings is a mallard heard?", "The first."),
        ("Which of the two recordings has more species?", "The first."),
        ("How many species are in the first recording?", "3"),
        ("Is there a mallard in the second recording?", "No"),
        ("Which species do both recordings share?", "Common Cuckoo"),
        ("List all species of the two recordings.", "Great Tit, Common Cuckoo, Mallard, Spring Peeper"),
        (
            "Caption the second recording.",
            "A recording of Spring Peeper and Common Cuckoo, with engine noise in the background.",
        ),
        (
            "What is the focal species of each recording?",
            "The first: Great Tit. The second: Spring Peeper.",
        ),
        ("What is the life stage of the animal in the second recording?", UNKNOWN),
        ("Which species are only in the first recording?", "Great Tit, Mallard"),
        ("Which species are only in the second recording?", "Spring Peeper"),
        ("Which birds are in the first recording?", "Great Tit, Common Cuckoo, Mallard"),
        ("Which birds are in the second recording?", "Common Cuckoo"),
        ("Which birds are in both recordings?", "Common Cuckoo"),
        ("Which frogs are in both recordings?", "None"),
        ("Which species are in recording 1?", "Great Tit, Common Cuckoo, Mallard"),
        ("Which species are only in the first recording?", "Great Tit, Mallard"),
        ("Which species are new in the second recording?", "Spring Peeper"),
        ("Which birds are only in the first recording?", "Great Tit, Mallard"),
        ("List all species in recording 2.", "Spring Peeper, Common Cuckoo"),
        ("What is the focal species of recording 2?", "Spring Peeper"),
        ("What is the life stage of the animal in recording 1?", UNKNOWN),
        ("<AudioHere> and <AudioHere>: is the focal species the same in both recordings?", "No"),
    ],
)
def test_two_recordings(
    model: NatureLM, two_recordings: list[torch.Tensor], query: str, expected: str
) -> None:
    assert ask(model, two_recordings, query) == expected
    assert ask(model, two_recordings, query, num_beams=2) == expected


def test_later_questions_about_two_recordings(model: NatureLM, two_recordings: list[torch.Tensor]) -> None:
    first = "What is the focal species of the first recording?"
    turn = Turn(first, ask(model, two_recordings, first))
    assert turn.answer == "Great Tit"
    assert ask(model, two_recordings, "And in the other one?", turn) == "Spring Peeper"
    assert ask(model, two_recordings, "And its scientific name?", turn) == "Parus major"
    assert ask(model, two_recordings, "Which recording has a frog in it?", turn) == "The second."


def test_the_same_species_in_two_recordings(model: NatureLM, window: MakeFeatures) -> None:
    same = [window(Great_Tit=3.0, Mallard=1.0), window(Great_Tit=1.0)]
    assert ask(model, same, "Is the focal species the same in both recordings?") == "Yes"
    assert ask(model, same, "Which species is in the second recording?") == "Great Tit"
    assert ask(model, same[::-1], "Which of the two recordings has more species?") == "The second."
    silent = [window(Great_Tit=3.0), window()]
    assert ask(model, silent, "Is the focal species the same in both recordings?") == "No"
    assert ask(model, silent, "Which species is in the second recording?") == "None"


def test_detections_of_two_recordings_come_from_the_one_asked_about(
    model: NatureLM, two_recordings: list[torch.Tensor]
) -> None:
    (answer,) = model.answer([two_recordings], ["What is the focal species of the second recording?"])
    assert [(item.common_name, item.score) for item in answer.detections] == [
        ("Spring Peeper", pytest.approx(0.880797, abs=1e-6))
    ]


def test_detections_carry_the_evidence(model: NatureLM, window: MakeFeatures) -> None:
    features = window(Great_Tit=3.0, Common_Cuckoo=1.0, Engine_noise=6.0)
    (answer,) = model.answer([features], ["Caption the audio"])
    named = [(item.common_name, item.scientific_name, item.score) for item in answer.detections]
    assert named == [
        ("Great Tit", "Parus major", pytest.approx(0.952574, abs=1e-6)),
        ("Common Cuckoo", "Cuculus canorus", pytest.approx(0.731059, abs=1e-6)),
    ]
    assert 0.0 < answer.confidence <= 1.0
    assert answer.confidence == pytest.approx(np.exp(answer.mean_logprob))


def test_queries_that_cannot_be_asked_are_refused(
    model: NatureLM, window: MakeFeatures, two_recordings: list[torch.Tensor]
) -> None:
    features = window(Great_Tit=3.0)
    assert ask(model, features, "<Audio><AudioHere></Audio> " + FOCAL) == "Great Tit"
    with pytest.raises(ConfigError, match="holds 2 <AudioHere> but 1 recordings"):
        model.check_query("<AudioHere> or <AudioHere>?")
    with pytest.raises(ConfigError, match="holds 1 <AudioHere> but 2 recordings"):
        ask(model, two_recordings, "Is <AudioHere> a frog?")
    with pytest.raises(ConfigError, match="3 recordings in one question: this model compares at most 2"):
        ask(model, [features] * 3, "Is the focal species the same in all recordings?")
    with pytest.raises(ConfigError, match="naturelm-lite reads at most 1024"):
        model.check_query("what " * 3000)
    with pytest.raises(ConfigError, match="exceed the 2048 that naturelm-lite can read"):
        ask(model, features, FOCAL, max_new_tokens=2040)


def test_generate_is_transformers_own(model: NatureLM, window: MakeFeatures) -> None:
    texts = [model.processor.normalise(FOCAL)]
    context = model.adapter.context([window(Great_Tit=3.0)], texts, AnswerSettings())
    with torch.inference_mode():
        embeds, mask = model.embed_prompts([texts], [context])
        ids = model.generate(inputs_embeds=embeds, attention_mask=mask, max_new_tokens=20, do_sample=False)
    assert model.adapter.text(context, ids[0].tolist()) == "Great Tit"


def mixed_questions(
    window: MakeFeatures,
) -> tuple[list[torch.Tensor | list[torch.Tensor]], list[str], list[list[Turn]]]:
    features = [
        window(),
        window(Great_Tit=3.0),
        window(Mallard=2.0, Common_Cuckoo=1.0, Eurasian_Wren=0.5, Great_Tit=0.2, Dog=0.1),
        window(Siren=1.0),
        window(Spring_Peeper=4.0, American_Bullfrog=2.0),
        window(Great_Tit=3.0, Common_Cuckoo=1.0),
        [window(Great_Tit=3.0, Mallard=1.0), window(Great_Tit=1.0)],
    ]
    queries = [
        FOCAL,
        "Species?",
        LIST,
        "Caption the audio, using the scientific name for any animal species.",
        "Which of these, if any, are present in the audio recording? "
        "Spring Peeper, Mallard, Wood Frog, American Bullfrog, Green Treefrog, Blue Jay",
        "And its scientific name?",
        "Is the focal species the same in both recordings?",
    ]
    histories: list[list[Turn]] = [[], [], [], [], [], [Turn(FOCAL, "Great Tit")], []]
    return features, queries, histories


@pytest.mark.parametrize("num_beams", [1, 2])
def test_an_answer_does_not_depend_on_its_batch(
    model: NatureLM, window: MakeFeatures, num_beams: int
) -> None:
    features, queries, histories = mixed_questions(window)
    settings = AnswerSettings(num_beams=num_beams)
    together = model.answer(features, queries, settings, histories)
    backwards = model.answer(features[::-1], queries[::-1], settings, histories[::-1])[::-1]
    for place, (heard, query, turns) in enumerate(zip(features, queries, histories, strict=True)):
        (alone,) = model.answer([heard], [query], settings, [turns])
        for answer in (together[place], backwards[place]):
            assert answer.text == alone.text
            assert answer.mean_logprob == pytest.approx(alone.mean_logprob, abs=1e-4)
            assert answer.detections == alone.detections


def test_first_step_logits_do_not_depend_on_the_padding(model: NatureLM, window: MakeFeatures) -> None:
    features, queries, histories = mixed_questions(window)
    conversations = [
        [text for turn in turns for text in (model.processor.normalise(turn.query), turn.answer)]
        + [model.processor.normalise(query)]
        for query, turns in zip(queries, histories, strict=True)
    ]
    contexts = [
        model.adapter.context(heard if isinstance(heard, list) else [heard], texts, AnswerSettings())
        for heard, texts in zip(features, conversations, strict=True)
    ]
    with torch.inference_mode():
        embeds, mask = model.embed_prompts(conversations, contexts)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        together = model(inputs_embeds=embeds, attention_mask=mask, position_ids=positions).logits[:, -1]
        for row, (texts, context) in enumerate(zip(conversations, contexts, strict=True)):
            alone, _ = model.embed_prompts([texts], [context])
            logits = model(inputs_embeds=alone).logits[0, -1]
            torch.testing.assert_close(together[row], logits, atol=1e-4, rtol=0)


def test_prompts_are_padded_on_the_left(model: NatureLM, window: MakeFeatures) -> None:
    heard = [[window(Great_Tit=3.0, Mallard=1.0)], [window()]]
    conversations = [["what is it?", "Great Tit", "is it?"], ["what is it?"]]
    contexts = [
        model.adapter.context(windows, texts, AnswerSettings())
        for windows, texts in zip(heard, conversations, strict=True)
    ]
    with torch.inference_mode():
        embeds, mask = model.embed_prompts(conversations, contexts)
    lengths = [
        sum(len(piece.ids) for piece in model.processor.pieces(texts, context.marks)) + sum(context.lengths)
        for texts, context in zip(conversations, contexts, strict=True)
    ]
    assert lengths[0] > lengths[1]
    assert embeds.shape == (2, lengths[0], model.config.text_config.hidden_size)
    assert mask.tolist() == [[1] * lengths[0], [0] * (lengths[0] - lengths[1]) + [1] * lengths[1]]
    assert not embeds[1, : lengths[0] - lengths[1]].any()


def test_raising_the_floor_only_removes_names(model: NatureLM, window: MakeFeatures) -> None:
    features = window(Great_Tit=3.0, Common_Cuckoo=1.5, Mallard=0.5, Blue_Jay=-0.5, Dunlin=-1.5)
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


def test_groups_are_asked_for_by_their_noun(model: NatureLM, window: MakeFeatures) -> None:
    owl = window(Boreal_Owl=2.0)
    assert ask(model, owl, "Is there an owl in the audio?") == "Yes"
    assert ask(model, owl, "Are there any birds of prey in the audio?") == "Yes"
    assert ask(model, owl, "Is there a woodpecker in the audio?") == "No"
    assert ask(model, window(Sandhill_Crane=3.0), "Is there an owl in the audio?") == "No"
    assert ask(model, window(Snowy_Tree_Cricket=3.0), "Is there a frog in the audio?") == "No"


def test_the_bundled_models_answers_are_made_of_its_words(model: NatureLM) -> None:
    assert isinstance(model.adapter, SpeciesTokensAdapter)
    assert model.adapter.answers == answer_forms()
