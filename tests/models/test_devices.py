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


@pytest.mark.parametrize(("device", "exact"), [("cuda", True), ("cpu", False), ("mps", False)])
@pytest.mark.parametrize("newer", [True, False])
def test_convolutions_are_exact_on_nvidias_gpus(
    device: str, exact: bool, newer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the settings of torch 2.9 and newer, and by that of older ones."""
    if newer and not hasattr(torch.backends.cudnn, "conv"):
        pytest.skip("this torch has only the older setting")
    if not newer:
        monkeypatch.setattr(torch.backends.cudnn, "conv", None, raising=False)

    def rounds() -> bool:
        cudnn = torch.backends.cudnn
        return cudnn.conv.fp32_precision != "ieee" if newer else cudnn.allow_tf32

    assert rounds()
    with pytest.raises(KeyError), exact_convolutions(torch.device(device)):
        assert rounds() is not exact
        raise KeyError
    assert rounds()
    assert torch.backends.cudnn.allow_tf32


def test_a_gpu_is_counted_from_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    assert choose_device("auto") == torch.device("cuda")
    with pytest.raises(ConfigError, match="'cuda:9' is not available: this machine has 2 of its kind"):
        choose_device("cuda:9")
