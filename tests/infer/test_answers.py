from dataclasses import replace

from NatureLM.infer.answers import Answer, Failure, answer_line, recording_text
from NatureLM.models.answering import Detection


def an_answer(start: float = 0.0, end: float = 10.0, channel: str = "mix") -> Answer:
    return Answer(
        audio_path="frog.mp3",
        channel=channel,
        start_seconds=start,
        end_seconds=end,
        query="Which species?",
        output="Green Treefrog",
        confidence=0.98765432,
        mean_logprob=-0.0124999,
        model="naturelm-lite",
        detections=[Detection("Green Treefrog", "Dryophytes cinereus", 0.87654321)],
    )


def test_row_has_the_documented_columns_in_order() -> None:
    row = an_answer().as_row()
    assert list(row) == [
        "audio_path",
        "channel",
        "start_seconds",
        "end_seconds",
        "query",
        "output",
        "confidence",
        "mean_logprob",
        "model",
        "recorded_at",
        "site",
        "silent",
        "withheld",
        "detections",
        "scores",
    ]
    assert (row["confidence"], row["mean_logprob"]) == (0.987654, -0.0125)
    assert row["detections"] == [
        {"common_name": "Green Treefrog", "scientific_name": "Dryophytes cinereus", "score": 0.876543}
    ]
    assert row["recorded_at"] is None and row["site"] is None
    assert row["withheld"] is None and row["scores"] is None


def test_scores_of_candidates_keep_their_order() -> None:
    row = replace(an_answer(), scores={"Great Tit": 0.12345678, "Coal Tit": 2e-9}).as_row()
    assert list(row["scores"].items()) == [("Great Tit", 0.123457), ("Coal Tit", 0.0)]


def test_silent_window_has_no_scores() -> None:
    row = replace(an_answer(), output="None", confidence=None, mean_logprob=None, silent=True).as_row()
    assert (row["confidence"], row["mean_logprob"], row["silent"]) == (None, None, True)


def test_times_are_never_rounded_up_beyond_the_recording() -> None:
    assert an_answer(end=12.94361678004535).as_row()["end_seconds"] == 12.94361678004535


def test_failure_row() -> None:
    row = Failure("x.wav", "x.wav is empty.").as_row()
    assert row == {"audio_path": "x.wav", "reason": "x.wav is empty."}


def test_text_is_a_line_per_window() -> None:
    assert recording_text([an_answer(), an_answer(10.0, 12.5)]) == (
        "#0.00s - 10.00s#: Green Treefrog\n#10.00s - 12.50s#: Green Treefrog\n"
    )
    assert recording_text([]) == ""


def test_channel_is_named_only_where_it_is_asked_for() -> None:
    assert answer_line(an_answer(channel="2"), name_channel=True) == (
        "#0.00s - 10.00s, channel 2#: Green Treefrog"
    )
    assert answer_line(an_answer(channel="2")) == "#0.00s - 10.00s#: Green Treefrog"
