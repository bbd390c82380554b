import pytest

from NatureLM.beans_zero.components import COMPONENTS, Component, component
from NatureLM.errors import ConfigError


def test_the_table_is_the_benchmarks() -> None:
    assert len(COMPONENTS) == 22
    tasks = [each.task for each in COMPONENTS]
    assert [tasks.count(task) for task in ("classification", "detection", "captioning")] == [16, 5, 1]
    assert component("cbi").published == 0.778
    assert component("captioning").headline == "SPIDEr"
    assert sum(each.published for each in COMPONENTS) == pytest.approx(7.535)


@pytest.mark.parametrize("which", COMPONENTS, ids=lambda which: which.name)
def test_every_component_has_as_many_labels_as_it_says(which: Component) -> None:
    labels = which.labels
    assert len(set(labels)) == len(labels) == (which.label_count or 0)
    assert list(labels) == sorted(labels)
    assert all(label == label.strip() and label for label in labels)


def test_labels_are_spelled_as_in_the_benchmark() -> None:
    assert "Fin, Finback Whale" in component("watkins").labels
    assert "Chordata Amphibia Anura Dicroglossidae Occidozyga lima" in component("unseen-family-tax").labels
    assert "Occidozyga lima" in component("unseen-family-sci").labels
    assert component("hiceas").labels == ("Minke whale", "None")


def test_audio_is_as_long_as_the_component_says() -> None:
    assert component("watkins").seconds == 3.0
    assert component("enabirds").seconds == 10.0


def test_detection_of_many_labels_asks_another_question() -> None:
    asked = {each.name for each in COMPONENTS if each.query}
    assert asked == {"enabirds", "rfcx", "dcase"}
    assert component("dcase").query == "What are the common names for the species in the audio, if any?"


def test_an_unknown_component_names_the_nearest() -> None:
    with pytest.raises(ConfigError) as error:
        component("Watkin")
    assert str(error.value) == (
        "'Watkin' is not a component of BEANS-Zero; the nearest is 'watkins' (beans info lists all)."
    )
