import pytest

from NatureLM.calibration.matching import (
    CONTRADICTED,
    NO_DETECTION,
    NO_RECORDING,
    OPEN,
    REPEATED,
    SEVERAL_RECORDINGS,
    match,
)
from NatureLM.calibration.reviews import Review
from NatureLM.calibration.scores import Scored, Scores

A, B = "cards/card1/a.wav", "cards/card2/a.wav"


def scored(
    path: str,
    start: float,
    score: float,
    common: str = "Great Tit",
    scientific: str = "Parus major",
    **more: str,
) -> Scored:
    return Scored(path, more.get("channel", "mix"), start, start + 10.0, common, scientific, score)


def review(
    file: str, start: float, end: float, *names: str, right: bool | None = True, channel: str | None = None
) -> Review:
    return Review("reviewed.csv, line 2", file, start, end, names, right, channel)


def scores(*detections: Scored) -> Scores:
    return Scores(list(detections), {each.audio_path for each in detections} | {A, "b.flac"}, "m")


@pytest.mark.parametrize(
    "name",
    ["Great Tit", "great tit", "Parus major", "PARUS MAJOR", "Parus major_Great Tit", "Great-Tit"],
)
def test_species_in_both_forms(name: str) -> None:
    matched = match([review(A, 0, 10, name)], scores(scored(A, 0, 0.5)))
    assert [each.score for each in matched.detections] == [0.5]


def test_species_that_the_table_does_not_know() -> None:
    detection = scored(A, 0, 0.5, "Night Thing", "Res noctis")
    for name in ("night thing", "Res noctis"):
        assert match([review(A, 0, 10, name)], scores(detection)).detections == [detection]


@pytest.mark.parametrize(
    ("file", "count"),
    [
        (A, 1),
        ("./cards/card1/a.wav", 1),
        ("/home/me/cards/card1/a.wav", 1),
        ("C:\\data\\cards\\card1\\a.wav", 1),
        ("card1/a.wav", 1),
        ("a.wav", 0),
        ("card3/a.wav", 0),
        ("c.wav", 0),
    ],
)
def test_recordings_by_the_end_of_their_paths(file: str, count: int) -> None:
    matched = match([review(file, 0, 10, "Great Tit")], scores(scored(A, 0, 0.5), scored(B, 0, 0.6)))
    assert len(matched.detections) == count
    if file == "a.wav":
        assert matched.unmatched == {SEVERAL_RECORDINGS: 1}
    elif not count:
        assert matched.unmatched == {NO_RECORDING: 1}
        assert matched.examples == {NO_RECORDING: "reviewed.csv, line 2"}


def test_a_path_that_leads_upwards_is_found_by_its_end() -> None:
    detection = scored("../card1/june/b.wav", 0, 0.5)
    found = match([review("/home/me/card1/june/b.wav", 0, 10, "Great Tit")], scores(detection))
    assert found.detections == [detection]
    assert not match([review("/home/me/card2/june/b.wav", 0, 10, "Great Tit")], scores(detection)).detections


def test_a_name_without_its_ending() -> None:
    detection = scored("b.flac", 0, 0.5)
    assert match([review("b", 0, 10, "Great Tit")], scores(detection)).detections == [detection]


def test_the_largest_overlap_and_of_equals_the_highest_score() -> None:
    first, second = scored(A, 0, 0.9), scored(A, 10, 0.4)
    assert match([review(A, 8, 20, "Great Tit")], scores(first, second)).detections == [second]
    assert match([review(A, 0, 20, "Great Tit")], scores(first, second)).detections == [first]
    assert match([review(A, 12, 13, "Great Tit")], scores(first, second)).detections == [second]
    late = match([review(A, 16, 40, "Great Tit")], scores(first, second))  # less than half of the window
    assert late.unmatched == {NO_DETECTION: 1}


def test_channels_are_told_apart_where_both_have_one() -> None:
    left, right = scored(A, 0, 0.9, channel="1"), scored(A, 0, 0.4, channel="2")
    assert match([review(A, 0, 10, "Great Tit", channel="2")], scores(left, right)).detections == [right]
    mixed = scored(A, 0, 0.7)
    assert match([review(A, 0, 10, "Great Tit", channel="1")], scores(mixed)).detections == [mixed]


def test_what_does_not_count_is_counted() -> None:
    tit, other = scored(A, 0, 0.5), scored(A, 10, 0.6)
    reviews = [
        review(A, 0, 10, "Great Tit"),
        review(A, 0, 10, "Parus major"),
        review(A, 10, 20, "Great Tit", right=True),
        review(A, 10, 20, "Great Tit", right=False),
        review(A, 0, 10, "Common Cuckoo"),
        review(A, 0, 10, "Great Tit", right=None),
    ]
    matched = match(reviews, scores(tit, other))
    assert (matched.detections, matched.right) == ([tit], [True])
    assert matched.unmatched == {REPEATED: 1, CONTRADICTED: 2, NO_DETECTION: 1, OPEN: 1}
