"""Prompts and their token ids."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from NatureLM.errors import CheckpointError, ConfigError
from NatureLM.models.adapters.base import Mark
from NatureLM.models.concepts import ConceptFinder
from NatureLM.models.configuration import NatureLMConfig
from NatureLM.models.processing import NatureLMProcessor, PromptPiece
from NatureLM.models.vocabulary import NAME

CONFIG = NatureLMConfig(
    prompt_template="<bos><|user|>{query}<|assistant|>", answer_end="<eos>", lowercase_query=True
)


@pytest.fixture(scope="module")
def processor(tokenizer: PreTrainedTokenizerBase) -> NatureLMProcessor:
    return NatureLMProcessor(tokenizer, CONFIG)


def text_of(processor: NatureLMProcessor, ids: list[int]) -> str:
    return str(processor.tokenizer.decode(ids, skip_special_tokens=False))


def texts_of(processor: NatureLMProcessor, pieces: list[PromptPiece]) -> list[str]:
    return [text_of(processor, piece.ids) for piece in pieces]


def marked(processor: NatureLMProcessor, piece: PromptPiece) -> dict[tuple[int, ...], str]:
    """Return the words in which each mark lies, by its content."""
    tokens: dict[tuple[int, ...], list[int]] = {}
    for token, mark in zip(piece.ids, piece.marks, strict=True):
        if mark is not None:
            tokens.setdefault(mark.content, []).append(token)
    return {content: text_of(processor, ids).strip() for content, ids in tokens.items()}


def test_a_query_gets_its_recording_in_front(processor: NatureLMProcessor) -> None:
    prompt = processor.prompt("what is it?")
    assert prompt == "<bos><|user|><Audio><AudioHere></Audio> what is it?<|assistant|>"
    before, after = processor.pieces("what is it?")
    assert text_of(processor, before.ids) == "<bos><|user|><Audio>"
    assert text_of(processor, after.ids) == "</Audio> what is it?<|assistant|>"
    assert processor.pieces(["what is it?"]) == [before, after]


def test_two_recordings_stand_in_front_of_their_query(processor: NatureLMProcessor) -> None:
    pieces = processor.pieces("the same animal?", recordings=2)
    assert texts_of(processor, pieces) == [
        "<bos><|user|><Audio>",
        "</Audio><Audio>",
        "</Audio> the same animal?<|assistant|>",
    ]


def test_placeholders_may_stand_anywhere(processor: NatureLMProcessor) -> None:
    pieces = processor.pieces("first <AudioHere> second <AudioHere> same?", recordings=2)
    assert texts_of(processor, pieces) == ["<bos><|user|>first ", " second ", " same?<|assistant|>"]


def test_text_only_prompts_have_one_piece(processor: NatureLMProcessor) -> None:
    (piece,) = processor.pieces("hello", recordings=0)
    assert text_of(processor, piece.ids) == "<bos><|user|>hello<|assistant|>"


def test_a_conversation_is_one_prompt(
    processor: NatureLMProcessor, tokenizer: PreTrainedTokenizerBase
) -> None:
    texts = ["what is it?", "Great Tit", "and its family?", "Paridae", "any frogs?"]
    whole = (
        "<bos><|user|><Audio><AudioHere></Audio> what is it?<|assistant|>Great Tit<eos>"
        "<|user|>and its family?<|assistant|>Paridae<eos><|user|>any frogs?<|assistant|>"
    )
    assert processor.prompt(texts) == whole
    before, after = processor.pieces(texts)
    assert texts_of(processor, [before, after]) == whole.split("<AudioHere>")
    ids = before.ids + after.ids
    assert [ids.count(tokenizer.convert_tokens_to_ids(token)) for token in ("<bos>", "<eos>", "<Audio>")] == [
        1,
        2,
        1,
    ]


def test_an_earlier_turn_leaves_the_start_of_the_prompt_as_it_was(processor: NatureLMProcessor) -> None:
    alone = processor.pieces("what is it?")
    followed = processor.pieces(["what is it?", "Great Tit", "sure?"])
    assert followed[0] == alone[0]
    assert followed[1].ids[: len(alone[1].ids)] == alone[1].ids


def test_two_recordings_stand_in_front_of_the_first_question_only(processor: NatureLMProcessor) -> None:
    pieces = processor.pieces(["the same?", "No", "which is louder?"], recordings=2)
    assert texts_of(processor, pieces) == [
        "<bos><|user|><Audio>",
        "</Audio><Audio>",
        "</Audio> the same?<|assistant|>No<eos><|user|>which is louder?<|assistant|>",
    ]


def test_placeholders_of_a_conversation_count_in_all_questions(processor: NatureLMProcessor) -> None:
    pieces = processor.pieces(["is <AudioHere> a tit?", "Yes", "and <AudioHere>?"], recordings=2)
    assert texts_of(processor, pieces) == [
        "<bos><|user|>is ",
        " a tit?<|assistant|>Yes<eos><|user|>and ",
        "?<|assistant|>",
    ]


@pytest.mark.parametrize(
    ("texts", "recordings", "message"),
    [
        ("<AudioHere> or <AudioHere>?", 1, "holds 2 <AudioHere> but 1 recordings"),
        ("is <AudioHere> a tit?", 2, "holds 1 <AudioHere> but 2 recordings"),
        ("is <AudioHere> a tit?", 0, "holds 1 <AudioHere> but 0 recordings"),
        (["<AudioHere>?", "Great Tit", "and <AudioHere>?"], 1, "holds 2 <AudioHere> but 1 recordings"),
    ],
)
def test_wrong_numbers_of_placeholders_are_errors(
    processor: NatureLMProcessor, texts: str | list[str], recordings: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        processor.pieces(texts, recordings=recordings)
    with pytest.raises(ConfigError, match=message):
        processor.prompt(texts, recordings)


def test_a_placeholder_in_an_answer_makes_no_room_for_a_recording(processor: NatureLMProcessor) -> None:
    assert len(processor.pieces(["what is it?", "<AudioHere>", "sure?"])) == 2


def test_placeholders_keep_their_case(processor: NatureLMProcessor) -> None:
    query = processor.normalise("Is <AudioHere> a Great Tit?")
    assert query == "is <AudioHere> a great tit?"
    assert [len(processor.pieces(query)), query.count("<AudioHere>")] == [2, 1]


def test_queries_are_read_in_lower_case_without_white_space(
    processor: NatureLMProcessor, tokenizer: PreTrainedTokenizerBase
) -> None:
    assert processor.normalise("  Is there a Great Tit? \n") == "is there a great tit?"
    assert len(processor.normalise("İstanbul")) == len("İstanbul")
    as_written = NatureLMProcessor(tokenizer, NatureLMConfig(prompt_template="{query}"))
    assert as_written.normalise("  Is there a Great Tit? \n") == "Is there a Great Tit?"


def test_marks_fall_on_the_words_of_the_span(processor: NatureLMProcessor) -> None:
    query = "is there an owl or a raptor?"
    before, after = processor.pieces(query, [[Mark(12, 15, (3, 1)), Mark(21, 27, (3, 2))]])
    assert marked(processor, after) == {(3, 1): "owl", (3, 2): "raptor"}
    assert marked(processor, before) == {}
    assert after.ids == processor.pieces(query)[1].ids
    assert len(after.marks) == len(after.ids)


def test_a_token_may_stand_for_a_marked_span(
    processor: NatureLMProcessor, tokenizer: PreTrainedTokenizerBase
) -> None:
    query = "is there a great tit or a mallard?"
    marks = [Mark(11, 20, (1, 3), NAME), Mark(26, 33, (1, 4), NAME)]
    _, after = processor.pieces(query, [marks])
    assert text_of(processor, after.ids) == "</Audio> is there a <name> or a <name>?<|assistant|>"
    name = tokenizer.convert_tokens_to_ids(NAME)
    found = [(token, mark) for token, mark in zip(after.ids, after.marks, strict=True) if mark is not None]
    assert found == [(name, marks[0]), (name, marks[1])]


def test_marks_fall_right_whatever_stands_around_them(
    processor: NatureLMProcessor, finder: ConceptFinder
) -> None:
    for query in (
        "great tit?",
        "owls",
        "any (owls), 'great tit'?",
        "\u6797 caf\u00e9 owls \U0001f989 great tit",
    ):
        concepts = finder.find(query)
        marks = [Mark(item.start, item.end, (number,)) for number, item in enumerate(concepts)]
        _, after = processor.pieces(query, [marks])
        words = [query[item.start : item.end] for item in concepts]
        assert len(words) > 0
        assert list(marked(processor, after).values()) == words


def test_each_text_of_a_conversation_has_its_marks(processor: NatureLMProcessor) -> None:
    texts = ["any owls?", "Great Tit", "is it a great tit or an owl?"]
    marks = [
        [Mark(4, 8, (1,))],
        [Mark(0, 9, (2,), NAME)],
        [Mark(8, 17, (3,), NAME), Mark(24, 27, (4,))],
    ]
    _, after = processor.pieces(texts, marks)
    assert text_of(processor, after.ids) == (
        "</Audio> any owls?<|assistant|><name><eos><|user|>is it a <name> or an owl?<|assistant|>"
    )
    assert marked(processor, after) == {(1,): "owls", (2,): "<name>", (3,): "<name>", (4,): "owl"}


def test_marks_fall_right_before_and_after_recordings(processor: NatureLMProcessor) -> None:
    query = "a great tit in <AudioHere>, an owl in <AudioHere>, or frogs?"
    tit, owl, frogs = (query.index(word) for word in ("great tit", "owl", "frogs"))
    marks = [Mark(tit, tit + 9, (1,), NAME), Mark(owl, owl + 3, (2,)), Mark(frogs, frogs + 5, (3,))]
    pieces = processor.pieces(query, [marks], recordings=2)
    assert texts_of(processor, pieces) == [
        "<bos><|user|>a <name> in ",
        ", an owl in ",
        ", or frogs?<|assistant|>",
    ]
    assert [marked(processor, piece) for piece in pieces] == [
        {(1,): "<name>"},
        {(2,): "owl"},
        {(3,): "frogs"},
    ]


AUDIO = {"type": "audio", "path": "a.wav"}


def test_chats_become_the_prompts_of_conversations(processor: NatureLMProcessor) -> None:
    chat = [
        {"role": "user", "content": [AUDIO, {"type": "text", "text": "What IS it?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Great Tit"}]},
        {"role": "user", "content": "And in Latin? "},
    ]
    texts, recordings = processor.read_chat(chat)
    assert recordings == ["a.wav"]
    prompt = processor.apply_chat_template(chat)
    assert prompt == processor.prompt(["what is it?", "Great Tit", "and in latin?"])
    assert prompt == (
        "<bos><|user|><Audio><AudioHere></Audio> what is it?<|assistant|>Great Tit<eos>"
        "<|user|>and in latin?<|assistant|>"
    )
    assert processor.apply_chat_template(chat, tokenize=True) == processor.pieces(texts)


def test_recordings_of_a_chat_stand_where_it_puts_them(processor: NatureLMProcessor) -> None:
    text = {"type": "text", "text": "and"}
    for content, expected in (
        ([AUDIO, AUDIO, {"type": "text", "text": "the same?"}], "<a><a> the same?"),
        ([AUDIO, text, AUDIO], "<a> and <a>"),
        ([{"type": "text", "text": " Is "}, AUDIO, {"type": "text", "text": "loud?"}], "is <a> loud?"),
        ([{"type": "text", "text": "Who are you?"}], "who are you?"),
    ):
        chat = [{"role": "user", "content": content}]
        expected = expected.replace("<a>", "<Audio><AudioHere></Audio>")
        assert processor.apply_chat_template(chat) == f"<bos><|user|>{expected}<|assistant|>"
        assert len(processor.apply_chat_template(chat, tokenize=True)) == 1 + expected.count("<AudioHere>")
    waves = [{"type": "audio", "audio": [0.0]}, {"type": "audio", "url": "u"}, {"type": "audio"}]
    assert processor.read_chat([{"role": "user", "content": waves}])[1] == [[0.0], "u", None]


@pytest.mark.parametrize(
    ("chat", "message"),
    [
        ([], "roles are none"),
        ([{"role": "system", "content": "be brief"}], "roles are system"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "user, assistant"),
        ([{"role": "user", "content": [{"type": "image"}]}], "type 'image'; expected text or audio"),
        (
            [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": [AUDIO]},
                {"role": "user", "content": "b"},
            ],
            "message of the assistant is of type 'audio'; expected text",
        ),
        ([{"role": "user", "content": ["hi"]}], "is of type 'hi'; expected text or audio"),
        ([{"role": "user", "content": [{"type": "text"}]}], "has no 'text'"),
        ([{"role": "user", "content": [{"type": "text", "text": None}]}], "has no 'text'"),
        ([{"role": "user", "content": None}], "message of the user has no content"),
        ([{"role": "user"}], "message of the user has no content"),
        ([{"role": "user", "content": {"type": "text"}}], "message of the user has no content"),
    ],
)
def test_chats_out_of_order_are_refused(
    processor: NatureLMProcessor, chat: list[dict[str, object]], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        processor.apply_chat_template(chat)


def test_the_usual_options_of_transformers_are_taken_or_refused(processor: NatureLMProcessor) -> None:
    chat = [{"role": "user", "content": [AUDIO, {"type": "text", "text": "What?"}]}]
    prompt = processor.apply_chat_template(chat)
    assert processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) == prompt
    assert processor.apply_chat_template(chat, return_dict=False, return_tensors=None) == prompt
    assert processor.apply_chat_template([chat, chat]) == [prompt, prompt]
    assert processor.apply_chat_template([chat], tokenize=True) == [processor.pieces(["what?"])]
    for options, named in (
        ({"add_generation_prompt": False}, "add_generation_prompt=False is not possible"),
        (
            {"tokenize": True, "return_dict": True, "return_tensors": "pt"},
            "return_dict, return_tensors is not",
        ),
        ({"chat_template": "x"}, "chat_template is not possible"),
    ):
        with pytest.raises(ConfigError, match=named):
            processor.apply_chat_template(chat, **options)


def test_a_processor_is_read_back_without_its_model(processor: NatureLMProcessor, tmp_path: Path) -> None:
    processor.save_pretrained(tmp_path)
    again = NatureLMProcessor.from_pretrained(tmp_path)
    chat = [{"role": "user", "content": [AUDIO, {"type": "text", "text": "What IS it?"}]}]
    assert again.apply_chat_template(chat) == processor.apply_chat_template(chat)
    assert again.apply_chat_template(chat, tokenize=True) == processor.apply_chat_template(
        chat, tokenize=True
    )
    (tmp_path / "processor_config.json").write_text('{"prompt_template": 3}')
    with pytest.raises(CheckpointError, match=r"The processor in .* cannot be read"):
        NatureLMProcessor.from_pretrained(tmp_path)
