"""What the bundled model's language model is told of windows and questions, and how its answers are read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import PreTrainedTokenizerBase

from NatureLM.errors import ConfigError
from NatureLM.models.adapters.base import PromptContext
from NatureLM.models.adapters.species_tokens import (
    CLASS_COLUMNS,
    FEATURES,
    KINDS,
    MARK_COLUMNS,
    SpeciesTokensAdapter,
)
from NatureLM.models.answering import AnswerSettings, Detection
from NatureLM.models.concepts import ConceptType
from NatureLM.models.slot_rules import SlotRules
from NatureLM.models.species import SpeciesTable
from NatureLM.models.species_evidence import ClassEvidence, State

Logits = npt.NDArray[np.float32]
MakeWindow = Callable[..., Logits]

HIDDEN = 16


@pytest.fixture(scope="module")
def adapter(tokenizer: PreTrainedTokenizerBase, table: SpeciesTable) -> SpeciesTokensAdapter:
    torch.manual_seed(0)
    adapter = SpeciesTokensAdapter(HIDDEN, ["None", "<common><slot_0>, <common><slot_0>."])
    adapter.attach(tokenizer, table)
    return adapter


@pytest.fixture(scope="module")
def embed_tokens(tokenizer: PreTrainedTokenizerBase) -> torch.nn.Embedding:
    torch.manual_seed(1)
    return torch.nn.Embedding(len(tokenizer), HIDDEN)


def context(adapter: SpeciesTokensAdapter, windows: list[Logits], *texts: str) -> PromptContext:
    return adapter.context([torch.from_numpy(window) for window in windows], texts, AnswerSettings())


def features(context: PromptContext) -> dict[str, list[float]]:
    """Return each feature's values for the classes in their order."""
    columns = context.content.features.T.tolist()
    return dict(zip(FEATURES, columns, strict=True))


def ids(adapter: SpeciesTokensAdapter, text: str) -> list[int]:
    return list(adapter.tokenizer.encode(text, add_special_tokens=False))


def test_classes_carry_slot_kind_and_state(adapter: SpeciesTokensAdapter, make_window: MakeWindow) -> None:
    window = make_window(Great_Tit=1.0, Spring_Peeper=3.0, Fall_Field_Cricket=0.5, Coyote=0.0, Siren=2.0)
    described = context(adapter, [window], "what is it?")
    assert described.lengths == [5]
    assert described.content.classes.tolist() == [
        [0, KINDS.index("frog"), State.FOCAL],
        [1, KINDS.index("bird"), State.PRESENT],
        [2, KINDS.index("insect"), State.PRESENT],
        [3, KINDS.index("mammal"), State.PRESENT],
        [4, KINDS.index("sound"), State.SOUND],
    ]
    names = [adapter.table[item.class_index].common_name for item in described.content.evidence[0]]
    assert names == ["Spring Peeper", "Great Tit", "Fall Field Cricket", "Coyote", "siren"]


def test_strengths(adapter: SpeciesTokensAdapter, make_window: MakeWindow) -> None:
    window = make_window(Great_Tit=4.0, Mallard=0.0)
    window[0] = window[2]
    window[3, window[2] == 4.0] = 1.0
    by_name = features(context(adapter, [window], "what is it?"))
    assert by_name["logit / 8"] == [0.5, 0.0]
    assert by_name["sigmoid of the logit"] == pytest.approx([0.982014, 0.5], abs=1e-6)
    assert by_name["share of segments"] == [1.0, 0.75]


def test_first_of_its_genus_family_order_and_kind(
    adapter: SpeciesTokensAdapter, make_window: MakeWindow
) -> None:
    window = make_window(Great_Tit=5.0, Willow_Tit=4.0, Common_Cuckoo=3.0, Japanese_Tit=2.0, Wood_Frog=1.0)
    by_name = features(context(adapter, [window], "what is it?"))
    assert by_name["first of its genus"] == [1, 1, 1, 0, 1]
    assert by_name["first of its family"] == [1, 0, 1, 0, 1]
    assert by_name["first of its order"] == [1, 0, 1, 0, 1]
    assert by_name["first of its kind"] == [1, 0, 0, 0, 1]


def test_what_the_question_and_the_last_answer_speak_of(
    adapter: SpeciesTokensAdapter, make_window: MakeWindow
) -> None:
    window = make_window(Great_Tit=5.0, Boreal_Owl=4.0, Mallard=3.0, Wood_Frog=2.0, Siren=1.0)
    asked = features(context(adapter, [window], "a mallard, parus major, an owl, any frog or a siren?"))
    assert asked["named in the question"] == [1, 0, 1, 0, 0]
    assert asked["of a group in the question"] == [0, 1, 0, 1, 0]
    assert asked["named in the last answer"] == [0, 0, 0, 0, 0]

    texts = ("which birds?", "Great Tit, Mallard", "and frogs?")
    followed = features(context(adapter, [window], *texts))
    assert followed["named in the question"] == [0, 0, 0, 0, 0]
    assert followed["of a group in the question"] == [0, 0, 0, 1, 0]
    assert followed["named in the last answer"] == [1, 0, 1, 0, 0]

    assert followed["named in any answer"] == [1, 0, 1, 0, 0]

    earlier = features(context(adapter, [window], "any owls?", "Boreal Owl", "and?", "None", "what else?"))
    for name in ("named in the question", "of a group in the question", "named in the last answer"):
        assert earlier[name] == [0, 0, 0, 0, 0]
    assert earlier["named in any answer"] == [0, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("is there a mallard?", "Yes", [0, 0, 1]),
        ("is there a mallard?", "No", [0, 0, 0]),
        ("is there a bird?", "Yes", [0, 0, 0]),
        ("a mallard or a great tit?", " yes ", [1, 0, 1]),
    ],
)
def test_a_yes_names_the_species_that_was_asked_about(
    adapter: SpeciesTokensAdapter, make_window: MakeWindow, question: str, answer: str, expected: list[int]
) -> None:
    window = make_window(Great_Tit=5.0, Boreal_Owl=4.0, Mallard=3.0)
    described = features(context(adapter, [window], question, answer, "who else?"))
    assert described["named in the last answer"] == described["named in any answer"] == expected


@pytest.mark.parametrize(
    ("earlier", "expected"),
    [
        ("Great Tit, Willow Tit", [1, 1, 0]),
        ("Willow Tit", [0, 1, 0]),
        ("Eurasian Blackbird", [1, 0, 0]),  # no bird of the family was named: its strongest is meant
    ],
)
def test_a_rank_means_those_of_its_classes_that_were_named_before(
    adapter: SpeciesTokensAdapter, make_window: MakeWindow, earlier: str, expected: list[int]
) -> None:
    window = make_window(Great_Tit=5.0, Willow_Tit=4.0, Eurasian_Blackbird=3.0)
    described = context(adapter, [window], "which birds?", earlier, "and families?", "Paridae", "in latin?")
    assert features(described)["named in the last answer"] == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Paridae", [1, 0, 0]),
        ("Passeriformes", [1, 0, 0]),
        ("Turdus", [0, 0, 1]),  # a genus stands by itself in an answer
        ("bird", [1, 0, 0]),
        ("Passeriformes Paridae Parus major", [1, 0, 0]),
        ("Paridae, Turdidae", [1, 0, 1]),
        ("None", [0, 0, 0]),
    ],
)
def test_a_rank_in_the_last_answer_means_its_strongest_class(
    adapter: SpeciesTokensAdapter, make_window: MakeWindow, answer: str, expected: list[int]
) -> None:
    window = make_window(Great_Tit=5.0, Willow_Tit=4.0, Eurasian_Blackbird=3.0)
    described = context(adapter, [window], "which family is it?", answer, "and its latin name?")
    assert features(described)["named in the last answer"] == expected


def test_two_recordings_know_of_each_other(adapter: SpeciesTokensAdapter, make_window: MakeWindow) -> None:
    first = make_window(Great_Tit=5.0, Mallard=4.0, Siren=1.0)
    second = make_window(Mallard=3.0, Great_Tit=2.0, Willow_Tit=1.0)
    described = context(adapter, [first, second], "is it the same animal?")
    assert described.lengths == [3, 3]
    assert described.content.classes[:, 0].tolist() == [0, 1, 2, 16, 17, 18]
    assert described.content.classes[:, 2].tolist() == [
        *(State.FOCAL, State.PRESENT, State.SOUND),
        *(State.FOCAL, State.PRESENT, State.PRESENT),
    ]
    by_name = features(described)
    assert by_name["in the other recording too"] == [1, 1, 0, 1, 1, 0]
    assert by_name["strongest of the other recording"] == [0, 1, 0, 0, 1, 0]
    # Firsts are counted in each recording by itself.
    assert by_name["first of its family"] == [1, 1, 1, 1, 1, 0]
    alone = features(context(adapter, [first], "what is it?"))
    assert alone["in the other recording too"] == alone["strongest of the other recording"] == [0, 0, 0]


def test_every_feature_differs_somewhere(adapter: SpeciesTokensAdapter, make_window: MakeWindow) -> None:
    first = make_window(Great_Tit=5.0, Japanese_Tit=4.0, Mallard=3.0)
    second = make_window(Mallard=3.0, Boreal_Owl=2.0)
    first[0] = first[2]
    described = context(adapter, [first, second], "what?", "Great Tit", "a mallard or an owl?")
    varied = {name for name, values in features(described).items() if len(set(values)) > 1}
    assert varied == set(FEATURES)


def test_marks_say_what_the_evidence_says(adapter: SpeciesTokensAdapter, make_window: MakeWindow) -> None:
    window = make_window(Mallard=5.0, Boreal_Owl=4.0, Great_Tit=3.0, Siren=1.0)
    text = "great tit, dunlin, owls, frogs, passeriformes, parus major, a siren"
    (marks,) = context(adapter, [window], text).marks
    assert [(text[mark.start : mark.end], mark.content, mark.token) for mark in marks] == [
        ("great tit", (ConceptType.COMMON, State.PRESENT, 3, 0, 0), "<name>"),
        ("dunlin", (ConceptType.COMMON, State.WEAK, 0, 0, 0), "<name>"),
        ("owls", (ConceptType.GROUP, State.PRESENT, 2, 0, 0), None),
        ("frogs", (ConceptType.KIND, State.WEAK, 0, 0, 0), None),
        ("passeriformes", (ConceptType.TAXON, State.PRESENT, 3, 0, 0), "<name>"),
        ("parus major", (ConceptType.SCIENTIFIC, State.PRESENT, 3, 0, 0), "<name>"),
        ("siren", (ConceptType.SOUND, State.SOUND, 4, 0, 0), None),
    ]
    assert {len(mark.content) for mark in marks} == {MARK_COLUMNS} == {adapter.mark_columns}


def test_marks_of_two_recordings(adapter: SpeciesTokensAdapter, make_window: MakeWindow) -> None:
    first, second = make_window(Mallard=5.0, Great_Tit=4.0), make_window(Great_Tit=3.0, Wood_Frog=2.0)
    (marks,) = context(adapter, [first, second], "great tit, mallard, a frog or dunlin").marks
    assert [mark.content for mark in marks] == [
        (ConceptType.COMMON, State.PRESENT, 2, State.FOCAL, 17),
        (ConceptType.COMMON, State.FOCAL, 1, State.WEAK, 0),
        (ConceptType.KIND, State.WEAK, 0, State.PRESENT, 18),
        (ConceptType.COMMON, State.WEAK, 0, State.WEAK, 0),
    ]


def test_every_text_of_a_conversation_has_its_marks(
    adapter: SpeciesTokensAdapter, make_window: MakeWindow
) -> None:
    texts = ("what genus is it?", "Parus", "is it a great tit?")
    described = context(adapter, [make_window(Great_Tit=3.0)], *texts)
    spans = [[(mark.start, mark.end) for mark in marks] for marks in described.marks]
    assert spans == [[], [(0, 5)], [(8, 17)]]
    # A bare genus means something in answers only.
    assert context(adapter, [make_window(Great_Tit=3.0)], "is it a parus?").marks == [[]]


def test_what_an_earlier_turn_named_keeps_its_place(
    adapter: SpeciesTokensAdapter, make_window: MakeWindow
) -> None:
    window = make_window(Great_Tit=5.0, Mallard=4.0, Dunlin=3.0, Wood_Frog=2.0)
    settings = AnswerSettings(max_species=1)
    texts = ["any frogs?", "Wood Frog", "what is its latin name?"]
    (evidence,) = adapter.context([torch.from_numpy(window)], texts, settings).content.evidence
    assert [adapter.table[item.class_index].common_name for item in evidence] == ["Great Tit", "Wood Frog"]


def test_silent_windows_have_no_tokens(
    adapter: SpeciesTokensAdapter, embed_tokens: torch.nn.Embedding, make_window: MakeWindow
) -> None:
    silent = context(adapter, [make_window()], "is there an owl?")
    assert silent.lengths == [0]
    assert silent.content.classes.shape == (0, CLASS_COLUMNS)
    assert silent.content.features.shape == (0, len(FEATURES))
    assert adapter([silent], embed_tokens).shape == (0, HIDDEN)
    assert adapter.named_slots(silent) == []


@pytest.mark.parametrize("texts", [("hello",), ("which family?", "Paridae", "and its order?")])
def test_a_prompt_may_have_no_recording(adapter: SpeciesTokensAdapter, texts: tuple[str, ...]) -> None:
    assert context(adapter, [], *texts).lengths == []


def test_more_than_two_recordings_are_refused(adapter: SpeciesTokensAdapter, make_window: MakeWindow) -> None:
    with pytest.raises(ConfigError, match="3 recordings in one question: this model compares at most 2"):
        context(adapter, [make_window()] * 3, "which is the loudest?")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (AnswerSettings(max_species=11), "--max-species 11: this model names from 0 to 10 species"),
        (AnswerSettings(max_species=-1), "--max-species -1: this model names from 0 to 10 species"),
        (AnswerSettings(min_evidence=1.5), "--min-evidence 1.5: expected a number from 0 to 1"),
        (AnswerSettings(min_evidence=-0.1), "--min-evidence -0.1: expected a number from 0 to 1"),
        (AnswerSettings(min_evidence=float("nan")), "--min-evidence nan: expected a number from 0 to 1"),
    ],
)
def test_settings_that_cannot_be_honoured_are_refused(
    adapter: SpeciesTokensAdapter, settings: AnswerSettings, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        adapter.check(settings)


def test_tokens_of_several_prompts_follow_each_other(
    adapter: SpeciesTokensAdapter, embed_tokens: torch.nn.Embedding, make_window: MakeWindow
) -> None:
    one = context(adapter, [make_window(Great_Tit=3.0, Siren=1.0)], "what is it?")
    two = context(adapter, [make_window(Mallard=3.0), make_window(Mallard=2.0)], "the same?")
    together = adapter([one, two], embed_tokens)
    assert together.shape == (4, HIDDEN)
    torch.testing.assert_close(
        together, torch.cat([adapter([one], embed_tokens), adapter([two], embed_tokens)])
    )


def test_a_token_is_the_sum_of_what_is_known(
    adapter: SpeciesTokensAdapter, embed_tokens: torch.nn.Embedding, make_window: MakeWindow
) -> None:
    described = context(adapter, [make_window(), make_window(Great_Tit=3.0)], "which?")
    (token,) = adapter([described], embed_tokens)
    expected = (
        embed_tokens.weight[adapter.tokenizer.convert_tokens_to_ids("<slot_16>")]
        + adapter.feature_map(torch.from_numpy(described.content.features))[0]
        + adapter.kind_embedding.weight[KINDS.index("bird")]
        + adapter.state_embedding.weight[State.FOCAL]
        + adapter.recording_embedding.weight[1]
    )
    torch.testing.assert_close(token, expected)


def test_unmarked_words_stay_as_they_are(
    adapter: SpeciesTokensAdapter, embed_tokens: torch.nn.Embedding
) -> None:
    words = embed_tokens.weight[:3]
    marks = torch.zeros(3, MARK_COLUMNS, dtype=torch.long)
    assert torch.equal(adapter.mark_text(words, marks, embed_tokens), words)


def test_marked_words_carry_the_evidence_of_each_recording(
    adapter: SpeciesTokensAdapter, embed_tokens: torch.nn.Embedding
) -> None:
    words = embed_tokens.weight[:2]
    marks = torch.tensor(
        [[ConceptType.COMMON, State.WEAK, 0, State.FOCAL, 17], [ConceptType.KIND, 0, 0, 0, 0]]
    )
    marked = adapter.mark_text(words, marks, embed_tokens)
    slot = embed_tokens.weight[adapter.tokenizer.convert_tokens_to_ids("<slot_16>")]
    states = adapter.mark_state_embedding.weight
    expected = (
        words[0]
        + adapter.mark_type_embedding.weight[ConceptType.COMMON]
        + states[State.WEAK]
        + states[1 + len(State) + State.FOCAL]
        + adapter.mark_slot_map(slot)
    )
    torch.testing.assert_close(marked[0], expected)
    torch.testing.assert_close(marked[1], words[1] + adapter.mark_type_embedding.weight[ConceptType.KIND])
    batched = adapter.mark_text(words[None], marks[None], embed_tokens)
    torch.testing.assert_close(batched[0], marked)


def test_named_slots_count_over_the_recordings(
    adapter: SpeciesTokensAdapter, make_window: MakeWindow
) -> None:
    described = context(
        adapter, [make_window(Great_Tit=3.0, Siren=1.0), make_window(Mallard=2.0)], "which are they?"
    )
    named = [
        (item.slot, item.names.get("common"), item.names.get("sound"))
        for item in adapter.named_slots(described)
    ]
    assert named == [(0, "Great Tit", None), (1, None, "siren"), (16, "Mallard", None)]


def test_decoding_is_held_to_the_slots_of_each_row(
    adapter: SpeciesTokensAdapter, make_window: MakeWindow
) -> None:
    rows = [
        context(adapter, [make_window(Great_Tit=3.0, Mallard=1.0)], "what is it?"),
        context(adapter, [make_window()], "what is it?"),
    ]
    (rules,) = adapter.decoding_rules(rows)
    assert isinstance(rules, SlotRules)
    assert [[item.slot for item in row] for row in rules.rows] == [[0, 1], []]
    scores = rules(torch.zeros(2, 0, dtype=torch.long), torch.zeros(2, len(adapter.tokenizer)))
    first, second = (
        set(adapter.tokenizer.convert_ids_to_tokens(torch.nonzero(row == 0).flatten().tolist()))
        for row in scores
    )
    # What its answers begin with; a tag only where something is heard.
    assert second == {"None"}
    assert first == {"None", "<common>", "<scientific>", "<genus>", "<family>", "<order>", "<kind>"}


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("<common><slot_0>", "Great Tit"),
        ("<common><slot_0> (<scientific><slot_0>)<eos>", "Great Tit (Parus major)"),
        ("<order><slot_1> <family><slot_1> <scientific><slot_1>", "Anura Hylidae Pseudacris crucifer"),
        ("<genus><slot_0>, <kind><slot_1><eos><pad><pad>", "Parus, frog"),
        (
            "A recording of <common><slot_0> and <common><slot_1>, with <sound><slot_2> in the background.",
            "A recording of Great Tit and Spring Peeper, with engine noise in the background.",
        ),
        ("<common><slot_16>", "Mallard"),
        ("2: <common><slot_0>, <common><slot_1>", "2: Great Tit, Spring Peeper"),
        # A list names a rank, or a species of both recordings, once.
        ("<kind><slot_0>, <kind><slot_1>, <kind><slot_16>", "bird, frog"),
        ("<common><slot_0>, <common><slot_17>", "Great Tit"),
        (
            "The first: <common><slot_0>. The second: <common><slot_17>.",
            "The first: Great Tit. The second: Great Tit.",
        ),
        (
            "<common><slot_0> (<kind><slot_0>), <common><slot_16> (<kind><slot_16>)",
            "Great Tit (bird), Mallard (bird)",
        ),
        (" None<eos>", "None"),
        ("12", "12"),
        ("", ""),
        # Slots that hold nothing, or no name of the kind asked for, leave nothing.
        ("<common><slot_9>.", "."),
        ("<sound><slot_0>", ""),
        ("<slot_0>", ""),
        ("<common>", ""),
        ("<common><slot_0><slot_1>", "Great Tit"),
    ],
)
def test_answers_are_written_with_names(
    adapter: SpeciesTokensAdapter, make_window: MakeWindow, answer: str, text: str
) -> None:
    first = make_window(Great_Tit=3.0, Spring_Peeper=1.0, Engine_noise=5.0)
    described = context(adapter, [first, make_window(Mallard=2.0, Great_Tit=1.0)], "which are they?")
    assert adapter.text(described, ids(adapter, answer)) == text


def test_detections_are_the_animals_that_an_answer_names(
    adapter: SpeciesTokensAdapter, make_window: MakeWindow
) -> None:
    first = make_window(Great_Tit=3.0, Spring_Peeper=1.0, Engine_noise=5.0)
    described = context(adapter, [first, make_window(Mallard=0.0)], "which are they?")
    great_tit = Detection("Great Tit", "Parus major", pytest.approx(0.952574, abs=1e-6))
    peeper = Detection("Spring Peeper", "Pseudacris crucifer", pytest.approx(0.731059, abs=1e-6))
    mallard = Detection("Mallard", "Anas platyrhynchos", 0.5)
    for answer, expected in (
        ("<common><slot_0> (<scientific><slot_0>), <scientific><slot_1>", [great_tit, peeper]),
        ("<common><slot_1>, with <sound><slot_2>", [peeper]),
        ("<common><slot_16>", [mallard]),
        ("<family><slot_0>, <kind><slot_1>", []),
        ("<common><slot_9>", []),
        ("None", []),
        ("", []),
    ):
        assert adapter.detections(described, ids(adapter, answer)) == expected, answer


def test_classes_of_ones_own_can_be_described(adapter: SpeciesTokensAdapter) -> None:
    mallard = adapter.table.find("Mallard")
    assert mallard is not None
    evidence = ClassEvidence(mallard.class_index, -4.0, 0.018, 0.5, State.WEAK)
    described = adapter.describe([[evidence]])
    assert described.classes.tolist() == [[0, KINDS.index("bird"), State.WEAK]]
    assert described.features[0].tolist() == pytest.approx([-0.5, 0.018, 0.5, 1, 1, 1, 1, *[0] * 6])
