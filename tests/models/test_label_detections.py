"""Labels of an answer as the species that it names."""

from __future__ import annotations

from NatureLM.models.answering import Detection
from NatureLM.models.label_detections import label_detections, with_scores


def test_labels_of_every_kind() -> None:
    labels = [
        "Periparus ater",
        "gretit1",
        "Great Tit",
        "Green-backed Yeti, pale form",
        "Siren",
        "None",
        "none",
    ]
    assert label_detections(labels) == [
        Detection("Coal Tit", "Periparus ater", None),
        Detection("Great Tit", "Parus major", None),
        Detection("Green-backed Yeti, pale form", "", None),
        Detection("siren", "", None),
    ]
    assert label_detections([]) == label_detections(["None"]) == []


def test_of_several_labels_of_a_species_the_highest_score_counts() -> None:
    found = label_detections(["Great Tit", "Yeti"])
    scores = {"Parus major": 0.5, "Yeti": 0.0, "Great Tit": 0.25, "Coal Tit": 0.75}
    assert with_scores(found, scores) == [
        Detection("Great Tit", "Parus major", 0.5),
        Detection("Yeti", "", 0.0),
    ]
