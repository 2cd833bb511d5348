"""The twelve corruptions against the obvious way with NumPy, SciPy or Pillow, where there is one that does the same."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import correlate, gaussian_filter

from benchmarks.measure import best_seconds
from benchmarks.scenes import real_tile, turned_quarters
from swath.benchmarks.corruptions import (
    CORRUPTIONS,
    BrightnessContrast,
    CompressionArtefacts,
    Corruption,
    GaussianBlur,
    GaussianNoise,
    MotionBlur,
    Rotation,
    SaltAndPepperNoise,
    Scale,
    Translation,
)
from swath.benchmarks.patterns import line_kernel
from swath.imagery.bands import Band, Unit
from swath.imagery.pixels import Pixels
from swath.samples.sample import Sample

SEVERITY = 3
BILINEAR = Image.Resampling.BILINEAR


@dataclass(frozen=True)
class Peer:
    """How one would write a corruption by hand: an image (3, H, W) uint8 and a generator to an image.

    `levels` is by how many grey levels a pixel may differ, `share` which share of the values may differ by more.
    """

    library: str
    apply: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    levels: int = 0
    share: float = 0.0


def noisy(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    return _eight_bit(image + chance.normal(0, GaussianNoise(SEVERITY).sigma, image.shape))


def peppered(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    draw, half = chance.random(image.shape[1:]), SaltAndPepperNoise(SEVERITY).fraction / 2
    changed = image.copy()
    changed[:, draw < half] = 255
    changed[:, draw > 1 - half] = 0
    return changed


def blurred(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    del chance
    sigma = GaussianBlur(SEVERITY).sigma
    return _eight_bit(gaussian_filter(image.astype(np.float64), (0, sigma, sigma), mode="nearest"))


def shaken(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    kernel = line_kernel(MotionBlur(SEVERITY).length, chance.uniform(0, math.pi))
    return _eight_bit(correlate(image.astype(np.float64), kernel[None], mode="nearest"))


def paler(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    means = image.mean(axis=(1, 2), keepdims=True)
    shift = 15 * SEVERITY if chance.random() < 0.5 else -15 * SEVERITY
    return _eight_bit((image - means) * (1 - 0.1 * SEVERITY) + means + shift)


def compressed(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    del chance
    stream = io.BytesIO()
    _picture(image).save(stream, "JPEG", quality=CompressionArtefacts(SEVERITY).quality)
    return _array(Image.open(stream))


def rotated(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    degrees = Rotation(SEVERITY).degrees
    return _array(_picture(image).rotate(degrees if chance.random() < 0.5 else -degrees, BILINEAR))


def scaled(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    side, picture = image.shape[1], _picture(image)
    small = round(side * Scale(SEVERITY).factor)
    start = (side - small) // 2
    if chance.random() < 0.5:
        frame = Image.new("RGB", (side, side))
        frame.paste(picture.resize((small, small), BILINEAR), (start, start))
        return _array(frame)
    return _array(picture.crop((start, start, start + small, start + small)).resize((side, side), BILINEAR))


def shifted(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    side = image.shape[1]
    down, right = np.where(chance.random(2) < 0.5, 1, -1) * round(Translation(SEVERITY).share * side)
    changed = np.zeros_like(image)
    to_rows, from_rows = _overlap(down, side)
    to_columns, from_columns = _overlap(right, side)
    changed[:, to_rows, to_columns] = image[:, from_rows, from_columns]
    return changed


PEERS: dict[type[Corruption], Peer] = {
    GaussianNoise: Peer("NumPy", noisy),
    SaltAndPepperNoise: Peer("NumPy", peppered),
    GaussianBlur: Peer("SciPy", blurred),
    MotionBlur: Peer("SciPy", shaken, levels=1),
    BrightnessContrast: Peer("NumPy", paler),
    CompressionArtefacts: Peer("Pillow", compressed),
    # Pillow cuts off what it interpolates and rounds between its two passes of a resize; a corner may fall either way.
    Rotation: Peer("Pillow", rotated, levels=1, share=1e-4),
    Scale: Peer("Pillow", scaled, levels=1),
    Translation: Peer("NumPy", shifted),
}


def report(*, pixels: int, repeats: int) -> None:
    """Print millions of pixels a second of each corruption at severity 3, once it equals its peer where it has one."""
    sample = made_sample(pixels)
    image = sample.images["image"].values
    for kind, peer in PEERS.items():
        check_equal(kind(SEVERITY), peer, sample)
    print(
        f"\nCorrupt {pixels} x {pixels} px, 3 bands, 8-bit, severity {SEVERITY} (best of {repeats}, CPU time); results "
        f"are equal where there is a peer\n  {'':22} {'swath':>12} {'peer':>12}"
    )
    unused = np.random.default_rng(0)
    for kind in CORRUPTIONS:
        corruption = kind(SEVERITY)
        ours = pixels**2 / best_seconds(lambda job=corruption: job(sample, unused), repeats) / 1e6
        line = f"  {kind.name:22} {ours:7.1f} Mpx/s"
        if kind in PEERS:
            peer = PEERS[kind]
            theirs = pixels**2 / best_seconds(lambda job=peer: job.apply(image, unused), repeats) / 1e6
            line += f" {theirs:7.1f} Mpx/s  {peer.library} ({ours / theirs:.2f}x)"
        print(line)


def check_equal(corruption: Corruption, peer: Peer, sample: Sample) -> None:
    """Raise unless both give the same image from the same draws, but for how the peer rounds."""
    slot = "" if corruption.geometric else "image"
    for key in ("north", "south", "east", "west"):
        turned = Sample(key=key, images=sample.images)
        ours = corruption(turned, np.random.default_rng(0)).images["image"].values
        theirs = peer.apply(turned.images["image"].values, corruption.chance(turned, slot))
        differing = np.abs(ours.astype(np.int64) - theirs) > peer.levels
        if ours.dtype != np.uint8 or ours.shape != theirs.shape or differing.mean() > peer.share:
            raise AssertionError(f"{corruption.name} and {peer.library} differ in {differing.mean():.2%} of the values")


def made_sample(pixels: int) -> Sample:
    """Return red, green and blue of real imagery, put together to this size."""
    block = turned_quarters(real_tile()[:3], seed=0)
    repeats = -(-pixels // block.shape[1])
    values = np.ascontiguousarray(np.tile(block, (1, repeats, repeats))[:, :pixels, :pixels])
    bands = [Band(name=name, role=name, unit=Unit.EIGHT_BIT) for name in ("red", "green", "blue")]
    return Sample(key="scene", images={"image": Pixels.from_array(values, bands, Unit.EIGHT_BIT)})


def _eight_bit(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _picture(image: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))


def _array(picture: Image.Image) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))


def _overlap(shift: int, side: int) -> tuple[slice, slice]:
    """Return where a side's values go and where they come from when it is shifted."""
    return slice(max(shift, 0), side + min(shift, 0)), slice(max(-shift, 0), side - max(shift, 0))
