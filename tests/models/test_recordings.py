"""The bundled model on real recordings: the right species, and always what the encoder's evidence says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from NatureLM.audio import find_recordings, recording_windows
from NatureLM.errors import RecordingError
from NatureLM.models.answering import AnswerSettings
from NatureLM.models.naturelm import NatureLM
from NatureLM.models.species_evidence import pooled_logits

AUDIO = Path(__file__).parents[3] / "shared" / "audio"
FLOOR = 0.25
FOCAL = "What is the common name for the focal species in the audio?"
LIST = "What are the common names for the species in the audio, if any?"
LIST_SCIENTIFIC = "What are the scientific names for the species in the audio, if any?"

pytestmark = pytest.mark.skipif(
    not AUDIO.is_dir(), reason="the real recordings of ../shared/audio are not here"
)


@pytest.fixture(scope="module")
def model() -> NatureLM:
    return NatureLM.from_pretrained("bundled")


@pytest.fixture(scope="module")
def windows(model: NatureLM) -> dict[str, list[torch.Tensor]]:
    """Logits of every window of 10 s, by the file's name."""
    heard: dict[str, list[torch.Tensor]] = {}
    for path in find_recordings([AUDIO]):
        try:
            waves = [wave for _, _, wave in recording_windows(path, 48_000, 10.0, 10.0, "mix")]
        except RecordingError:
            continue
        heard[path.name] = model.encode_audio(waves)
    return heard


def animals(model: NatureLM, logits: torch.Tensor) -> list[int]:
    """Animal classes at or above the floor, strongest first, of at most six classes."""
    scores = torch.sigmoid(torch.from_numpy(pooled_logits(logits.numpy())).double()).numpy()
    order = np.argsort(-scores, kind="stable")[:6]
    table = model.adapter.table
    return [int(index) for index in order if scores[index] >= FLOOR and table[int(index)].is_animal]


@pytest.mark.parametrize(
    ("file", "species"),
    [
        ("lazuli_bunting.mp3", "Lazuli Bunting"),
        ("green_treefrog.mp3", "Green Treefrog"),
        ("sandhill_crane.mp3", "Sandhill Crane"),
        ("turtle_dove_16khz.flac", "European Turtle-Dove"),
        ("stream_noise.mp3", "None"),
        ("jazz_music.mp3", "None"),
    ],
)
def test_known_recordings(
    model: NatureLM, windows: dict[str, list[torch.Tensor]], file: str, species: str
) -> None:
    answers = model.answer(windows[file], [FOCAL] * len(windows[file]))
    assert [answer.text for answer in answers] == [species] * len(answers)


def test_wood_warblers_are_those_above_the_floor(
    model: NatureLM, windows: dict[str, list[torch.Tensor]]
) -> None:
    (logits,) = windows["osn_birds_10s.wav"]
    (answer,) = model.answer([logits], [LIST])
    assert answer.text == "Blackburnian Warbler, Tennessee Warbler"
    assert [model.adapter.table[index].common_name for index in animals(model, logits)] == (
        answer.text.split(", ")
    )


def test_lists_say_what_the_evidence_says_in_every_window(
    model: NatureLM, windows: dict[str, list[torch.Tensor]]
) -> None:
    table = model.adapter.table
    every = [logits for logits_of_file in windows.values() for logits in logits_of_file]
    common = model.answer(every, [LIST] * len(every))
    scientific = model.answer(every, [LIST_SCIENTIFIC] * len(every))
    for logits, by_common, by_scientific in zip(every, common, scientific, strict=True):
        heard = animals(model, logits)
        assert by_common.text == (", ".join(table[index].common_name for index in heard) or "None")
        assert by_scientific.text == (", ".join(table[index].scientific_name for index in heard) or "None")
        assert [item.score for item in by_common.detections] == pytest.approx(
            [1 / (1 + np.exp(-pooled_logits(logits.numpy())[index])) for index in heard], abs=1e-4
        )


KNOWN = [
    ("lazuli_bunting.mp3", "Lazuli Bunting"),
    ("green_treefrog.mp3", "Green Treefrog"),
    ("sandhill_crane.mp3", "Sandhill Crane"),
    ("turtle_dove_16khz.flac", "European Turtle-Dove"),
]


@pytest.mark.parametrize(("file", "species"), KNOWN)
def test_the_right_one_among_four_similar_species(
    model: NatureLM, windows: dict[str, list[torch.Tensor]], file: str, species: str
) -> None:
    table = model.adapter.table
    right = table.find(species)
    assert right is not None
    similar = [
        other
        for rank in ("genus", "family")
        for other in table
        if getattr(other, rank) == getattr(right, rank) and other.class_index != right.class_index
    ]
    for form in ("common_name", "scientific_name"):
        options = [getattr(similar[0], form), getattr(similar[1], form), getattr(right, form)]
        options.append(getattr(similar[2], form))
        names = ", ".join(options)
        for query in (
            f"Which of these is the focal species in the audio? Options: {names}",
            f"Which of these, if any, are present in the audio recording? {names}",
        ):
            answers = model.answer(windows[file], [query] * len(windows[file]))
            for logits, answer in zip(windows[file], answers, strict=True):
                heard = {getattr(table[index], form) for index in animals(model, logits)} & set(options)
                assert answer.text.split(", ")[0] == getattr(right, form)
                if query.endswith(f"recording? {names}"):
                    assert set(answer.text.split(", ")) == heard


@pytest.mark.parametrize(("file", "species"), KNOWN)
def test_both_names_captions_and_ranks(
    model: NatureLM, windows: dict[str, list[torch.Tensor]], file: str, species: str
) -> None:
    right = model.adapter.table.find(species)
    assert right is not None
    for query, expected in (
        ("What is the scientific name for the focal species in the audio?", right.scientific_name),
        ("What is the family for the focal species in the audio?", right.family),
        (
            "What are the common and scientific names of the focal species in the audio?",
            f"{right.common_name} ({right.scientific_name})",
        ),
    ):
        answers = model.answer(windows[file], [query] * len(windows[file]))
        assert [answer.text for answer in answers] == [expected] * len(answers)
    captions = model.answer(windows[file], ["Caption the audio."] * len(windows[file]))
    for logits, answer in zip(windows[file], captions, strict=True):
        assert answer.text.startswith(f"A recording of {species}")
        named = [detection.common_name for detection in answer.detections]
        assert named == [model.adapter.table[index].common_name for index in animals(model, logits)]


def test_a_species_ranked_low_is_found_when_it_is_listed(
    model: NatureLM, windows: dict[str, list[torch.Tensor]]
) -> None:
    (logits,) = windows["osn_birds_10s.wav"]
    settings = AnswerSettings(max_species=1)
    options = "Magnolia Warbler, Tennessee Warbler, Palm Warbler, Cape May Warbler"
    query = f"Which of these, if any, are present in the audio recording? {options}"
    (listed,) = model.answer([logits], [query], settings)
    (unlisted,) = model.answer([logits], [LIST], settings)
    assert (listed.text, unlisted.text) == ("Tennessee Warbler", "Blackburnian Warbler")
