import pytest
import torch

from NatureLM.errors import ConfigError
from NatureLM.models.devices import choose_device, exact_convolutions


def test_a_device_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="Unknown device 'gpu'; use auto, cpu, cuda or mps"):
        choose_device("gpu")
    with pytest.raises(ConfigError, match="'cpu:1' is not available: this machine has 1 of its kind"):
        choose_device("cpu:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="'cuda' is not available on this machine; use auto or cpu"):
        choose_device("cuda")


@pytest.mark.parametrize(("device", "rounded"), [("cuda", False), ("cpu", True), ("mps", True)])
def test_convolutions_are_exact_on_nvidias_gpus(
    device: str, rounded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    with pytest.raises(KeyError), exact_convolutions(torch.device(device)):
        assert torch.backends.cudnn.allow_tf32 is rounded
        raise KeyError
    assert torch.backends.cudnn.allow_tf32 is True


def test_a_gpu_is_counted_from_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    assert choose_device("auto") == torch.device("cuda")
    with pytest.raises(ConfigError, match="'cuda:9' is not available: this machine has 2 of its kind"):
        choose_device("cuda:9")
