import pytest

from NatureLM.beans_zero import postprocess as module
from NatureLM.beans_zero.postprocess import nearest_labels, postprocess


def test_an_exact_label_is_itself_even_beside_a_nearer_spelling() -> None:
    assert postprocess(["Cat", "cat", "cat "], ["cat", "Cat"], "classification") == ["Cat", "cat", "cat"]


def test_far_pieces_are_none_in_detection_only() -> None:
    assert postprocess(["a sentence about nothing"], ["wren"], "detection") == ["None"]
    assert postprocess(["a sentence about nothing"], ["wren"], "classification") == ["wren"]


def test_five_edits_still_name_a_label() -> None:
    assert postprocess(["abcde12345", "abcde123456"], ["abcde"], "detection") == ["abcde", "None"]


def test_empty_answers() -> None:
    assert postprocess([""], ["moose", "ox"], "classification") == ["ox"]
    assert postprocess(["", ","], ["American Crow"], "detection") == ["None", "None, None"]
    assert postprocess([], ["ox"], "detection") == []


def test_captions_stay() -> None:
    assert postprocess(["Dogs.<|end_of_text|>"], [], "captioning") == ["Dogs.<|end_of_text|>"]


def test_ties_do_not_depend_on_the_order_of_labels() -> None:
    assert nearest_labels(["at"], ["rat", "bat", "cat"]) == ["bat"]


def test_blocks_do_not_change_the_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, labels = [f"label {number}x" for number in range(50)], [f"label {number}" for number in range(30)]
    whole = nearest_labels(texts, labels)
    monkeypatch.setattr(module, "_BLOCK", 70)
    assert nearest_labels(texts, labels) == whole
    assert whole[:2] == ["label 0", "label 1"]
