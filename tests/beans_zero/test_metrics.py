import numpy as np
import pytest

from NatureLM.beans_zero.metrics import classification, detection, mean_average_precision, pieces


def test_classification_by_hand() -> None:
    found = classification(["a", "a", "b", "c"], ["a", "a", "a", "b"]).metrics()
    # a: precision 1, recall 2/3, F1 0.8, three rows; b: nothing right, one row; c: no rows
    assert found == pytest.approx(
        {"Accuracy": 0.5, "Precision": 0.75, "Recall": 0.5, "F1 Score": 0.6, "Top-1 Accuracy": 0.5}
    )


def test_top_1_accuracy_cuts_labels_at_commas() -> None:
    found = classification(["a", "a, b", "b"], ["a, b", "a, b", "a, b"]).metrics()
    assert found["Accuracy"] == pytest.approx(1 / 3)
    assert found["Top-1 Accuracy"] == pytest.approx(2 / 3)


def test_detection_by_hand() -> None:
    tally, precision = detection(["a, b", "b", "None", "a"], ["a", "a, b", "None", "None"])
    # a: precision 1/2, recall 1/2; b: precision 1/2, recall 1
    assert tally.metrics() == pytest.approx({"F1": (1 / 2 + 2 / 3) / 2, "Recall": 0.75, "Precision": 0.5})
    assert 0.0 < precision <= 1.0


def test_labels_outside_the_set_are_not_counted() -> None:
    tally, _ = detection(["a, moose"], ["a"], ["a", "b", "None"])
    assert tally.metrics() == pytest.approx({"F1": 0.5, "Recall": 0.5, "Precision": 0.5})


def test_nothing_found_at_all() -> None:
    tally, _ = detection(["None"], ["a"])
    assert tally.metrics() == {"F1": 0.0, "Recall": 0.0, "Precision": 0.0}


def test_average_precision_without_ties_to_break() -> None:
    truth = np.array([[True, False], [False, True], [False, False]])
    assert mean_average_precision(truth, truth) == 1.0
    assert mean_average_precision(truth[:1], truth[:1]) == 0.5  # a label without rows counts 0


def test_pieces() -> None:
    assert pieces("cat,dog, NONE ,bird ") == {"cat", "dog", "bird"}
    assert pieces("none") == frozenset()
