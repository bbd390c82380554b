"""How close BEATs comes to the time that its arithmetic alone would take on this machine.

Random weights of the published shape; windows of 10 s; one thread. The rate to which it is held is that of a
float32 matrix product of the shape of BEATs' own largest one, measured in the same run, each in turn with the
model so that a change of the machine's clock meets both::

    OMP_NUM_THREADS=1 python benchmarks/beats_arithmetic.py
    OMP_NUM_THREADS=1 python benchmarks/beats_arithmetic.py --small    # a try, in a second
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from NatureLM.models.encoders.beats import Beats, BeatsConfig
from NatureLM.models.encoders.beats_windows import WINDOWS_AT_ONCE_ON_CPU
from NatureLM.models.encoders.fbank import MEL_BINS, frame_count

FRAMES = frame_count(160_000)
SMALL = {"encoder_layers": 2, "encoder_embed_dim": 192, "encoder_ffn_embed_dim": 384, "embed_dim": 128}


def multiplications(beats: Beats, patches: int) -> int:
    """Return the multiply-adds of a window: matrix products and convolutions, nothing else."""
    config = beats.config
    width, inner, channels = config.encoder_embed_dim, config.encoder_ffn_embed_dim, config.embed_dim
    patch = config.input_patch_size**2 * channels + channels * width
    position = width * (width // config.conv_pos_groups) * config.conv_pos
    layer = 4 * width * width + 2 * width * inner + 2 * width * patches
    return patches * (patch + position + config.encoder_layers * layer)


def seconds(run: Callable[[], object]) -> float:
    """Return the CPU time that a call takes: other processes do not count."""
    start = time.process_time()
    run()
    return time.process_time() - start


@torch.inference_mode()
def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a small BEATs, to try the script")
    parser.add_argument("--windows", type=int, default=WINDOWS_AT_ONCE_ON_CPU, help="windows at once")
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    beats = Beats(BeatsConfig(**(SMALL if arguments.small else {}))).eval()
    width, inner = beats.config.encoder_embed_dim, beats.config.encoder_ffn_embed_dim
    patches = beats.patch_count(FRAMES)
    filter_bank = torch.randn(arguments.windows, FRAMES, MEL_BINS)
    left, right = torch.randn(arguments.windows * patches, width), torch.randn(width, inner)
    work = arguments.windows * multiplications(beats, patches)

    beats(filter_bank)
    products, models = [], []
    for _ in range(arguments.repetitions):
        products.append(seconds(lambda: left @ right) / left.numel() / inner)
        models.append(seconds(lambda: beats(filter_bank)))
    arithmetic, model = statistics.median(products) * work, statistics.median(models)
    print(
        f"{arguments.windows} windows of 10 s, {work / arguments.windows / 1e9:.1f} G multiply-adds each: "
        f"{model / arguments.windows:.3f} s a window; its arithmetic {arithmetic / arguments.windows:.3f} s "
        f"({2e-9 / statistics.median(products):.0f} GFLOP/s); ratio {model / arithmetic:.2f} (at most 1.3)"
    )


if __name__ == "__main__":
    main()
