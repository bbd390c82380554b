"""Prompts and their token ids."""

from __future__ import annotations

import pytest

from NatureLM.errors import ConfigError
from NatureLM.models.naturelm import NatureLM
from NatureLM.models.processing import NatureLMProcessor


@pytest.fixture(scope="module")
def processor() -> NatureLMProcessor:
    return NatureLM.from_pretrained("bundled").processor


def text_of(processor: NatureLMProcessor, ids: list[int]) -> str:
    return str(processor.tokenizer.decode(ids, skip_special_tokens=False))


def test_a_query_gets_its_recording_in_front(processor: NatureLMProcessor) -> None:
    prompt = processor.prompt("what is it?")
    assert prompt == "<bos><|user|><Audio><AudioHere></Audio> what is it?<|assistant|>"
    before, after = processor.pieces("what is it?")
    assert text_of(processor, before.ids) == "<bos><|user|><Audio>"
    assert text_of(processor, after.ids) == "</Audio> what is it?<|assistant|>"


def test_placeholders_may_stand_anywhere(processor: NatureLMProcessor) -> None:
    pieces = processor.pieces("first <AudioHere> second <AudioHere> same?", recordings=2)
    texts = [text_of(processor, piece.ids) for piece in pieces]
    assert texts == ["<bos><|user|>first ", " second ", " same?<|assistant|>"]


def test_text_only_prompts_have_one_piece(processor: NatureLMProcessor) -> None:
    (piece,) = processor.pieces("hello", recordings=0)
    assert text_of(processor, piece.ids) == "<bos><|user|>hello<|assistant|>"


def test_wrong_number_of_placeholders_is_an_error(processor: NatureLMProcessor) -> None:
    with pytest.raises(ConfigError, match="holds 2 <AudioHere> but 1 recordings"):
        processor.pieces("<AudioHere> or <AudioHere>?", recordings=1)


def test_placeholders_keep_their_case(processor: NatureLMProcessor) -> None:
    query = processor.normalise("Is <AudioHere> a Great Tit?")
    assert query == "is <AudioHere> a great tit?"
    assert [len(processor.pieces(query)), query.count("<AudioHere>")] == [2, 1]


def test_queries_are_read_in_lower_case_without_white_space(processor: NatureLMProcessor) -> None:
    assert processor.normalise("  Is there a Great Tit? \n") == "is there a great tit?"
    assert len(processor.normalise("İstanbul")) == len("İstanbul")


def test_marks_fall_on_the_words_of_the_span(processor: NatureLMProcessor) -> None:
    query = "is there a great tit?"
    _, after = processor.pieces(query, [(11, 20, 3)])
    marked = [token for token, mark in zip(after.ids, after.marks, strict=True) if mark == 3]
    assert text_of(processor, marked).strip() == "great tit"
    assert set(after.marks) == {0, 3}
