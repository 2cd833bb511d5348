"""Residual networks (He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", CVPR 2016).

Tensor names are those under which torchvision publishes its weights, so that any file of them loads as it is. As
there, a block that shrinks the map does so in its 3x3 convolution ("v1.5"), not in the first 1x1 as the paper has it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor, nn

from swath.errors import ConfigurationError

Stem = Literal["published", "small"]
"""`published`: a 7x7 convolution and a 3x3 maximum, stride 4 together. `small`: a 5x5 convolution of stride 2, for
chips of 32 to 128 pixels (ours; not in the paper)."""


class _Block(nn.Module, ABC):
    """What basic and bottleneck blocks share: the shortcut, projected where width or size change, and the sum."""

    expansion: int
    downsample: nn.Module | None

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to the shortcut."""
        shortcut = x if self.downsample is None else self.downsample(x)
        summed: Tensor = self.relu(self.branch(x) + shortcut)
        return summed

    @abstractmethod
    def branch(self, x: Tensor) -> Tensor:
        """Return what is added to the shortcut."""


class BasicBlock(_Block):
    """Two 3x3 convolutions.

    >>> import torch
    >>> BasicBlock(8, 16, 2)(torch.zeros(1, 8, 4, 4)).shape
    torch.Size([1, 16, 2, 2])
    """

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__(inputs, width, stride)
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def branch(self, x: Tensor) -> Tensor:
        """Return what is added to the shortcut."""
        out: Tensor = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return out


class Bottleneck(_Block):
    """A 1x1 convolution down to `width`, a 3x3, and a 1x1 up to four times `width`.

    >>> import torch
    >>> Bottleneck(8, 4)(torch.zeros(1, 8, 4, 4)).shape
    torch.Size([1, 16, 4, 4])
    """

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__(inputs, width, stride)
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)

    def branch(self, x: Tensor) -> Tensor:
        """Return what is added to the shortcut."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        raised: Tensor = self.bn3(self.conv3(out))
        return raised


class ResNet(nn.Module):
    """The stem and the four stages: images (B, C, H, W) to the last map (B, `width`, H / 32, W / 32).

    `blocks` a stage, `widths` of the stages before a bottleneck's fourfold; with the `small` stem the strides are 2,
    4, 8 and 16. Convolutions start as in the paper (normal, fan-out).
    Raises `ConfigurationError` unless there are four stages.

    >>> import torch
    >>> network = ResNet(channels=3, blocks=(1, 1, 1, 1), widths=(8, 16, 32, 64))
    >>> [tuple(feature.shape) for feature in network.features(torch.zeros(1, 3, 64, 64))]
    [(1, 8, 16, 16), (1, 16, 8, 8), (1, 32, 4, 4), (1, 64, 2, 2)]
    """

    def __init__(
        self,
        *,
        channels: int,
        blocks: tuple[int, ...],
        widths: tuple[int, ...] = (64, 128, 256, 512),
        bottleneck: bool = False,
        stem: Stem = "published",
    ) -> None:
        super().__init__()
        if len(blocks) != 4 or len(widths) != 4:
            raise ConfigurationError(f"a ResNet has four stages; found blocks {blocks} and widths {widths}.")
        kind = Bottleneck if bottleneck else BasicBlock
        kernel = 7 if stem == "published" else 5
        self.conv1 = nn.Conv2d(channels, widths[0], kernel, 2, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == "published" else nn.Identity()
        inputs = widths[0]
        for number, (count, width) in enumerate(zip(blocks, widths, strict=True)):
            stage = nn.Sequential()
            for place in range(count):
                stage.append(kind(inputs, width, 2 if number and not place else 1))
                inputs = width * kind.expansion
            self.add_module(f"layer{number + 1}", stage)
        self.width = inputs
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the maps after the four stages, finest first."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        maps = []
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
            maps.append(x)
        return tuple(maps)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Return the last map."""
        return self.features(image_BCHW)[-1]
