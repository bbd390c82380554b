import pytest

from NatureLM.beans_zero.captions import captioning, cider


def test_spider_is_the_mean_of_spice_and_a_tenth_of_cider() -> None:
    found = captioning([10.0, 0.0], [0.5, 0.1]).metrics()
    assert found == pytest.approx({"CIDEr": 5.0, "SPICE": 0.3, "SPIDEr": 0.4})


def test_a_caption_of_another_length_is_penalized() -> None:
    references = [["a b c d"], ["e f g h"]]
    same, longer = cider(["a b c d", "e f g h e f g h"], references)
    assert same == pytest.approx(10.0)
    assert 0.0 < longer < 10.0


def test_empty_captions() -> None:
    assert cider(["", "a"], [[""], [""]]) == [0.0, 0.0]


def test_repeating_a_word_gains_nothing() -> None:
    references = [["toad"], ["frog"]]
    assert cider(["toad toad", "frog"], references)[0] < cider(["toad", "frog"], references)[0]
