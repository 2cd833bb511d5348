"""Make the parity bundle of EfficientNet U-Net++ from segmentation_models_pytorch (a maintainer's tool).

Run it in an environment that has segmentation_models_pytorch 0.6.0 (which brings torchvision and timm, so
keep it apart from Swath's own): `python tests/parity/make_effnet_unetpp.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from bundles import BundleWriter
from fill import fill, generator

VARIANTS = ("b0", "b4")
NODES = ("x_0_0", "x_1_1", "x_0_1", "x_0_2", "x_0_3", "x_0_4")
SIZE = 256


def build(variant: str) -> Any:
    """The library's network of a variant, with the weights of its own initialisation."""
    import segmentation_models_pytorch as smp

    return smp.UnetPlusPlus(encoder_name=f"efficientnet-{variant}", encoder_weights=None, classes=1)


def count(module: torch.nn.Module) -> int:
    """How many parameters a module has."""
    return sum(parameter.numel() for parameter in module.parameters())


@torch.no_grad()
def run(variant: str, image: np.ndarray, writer: BundleWriter) -> dict[str, list[int]]:
    """Store the outputs of a variant under derived weights; returns the shapes of its tensors."""
    network = build(variant).eval()
    shapes = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    network.load_state_dict({name: torch.from_numpy(fill(name, shape)) for name, shape in shapes.items()})
    inputs = torch.from_numpy(image).float() / 127.5 - 1
    for number, feature in enumerate(network.encoder(inputs)[1:], 1):
        writer.add_output(f"{variant}/enc{number}", feature.numpy())
    seen: dict[str, np.ndarray] = {}
    for name in NODES:
        network.decoder.blocks[name].register_forward_hook(
            lambda module, args, output, name=name: seen.update({name: output.numpy()})
        )
    logits = network(inputs).numpy()
    for name in NODES:
        writer.add_output(f"{variant}/{name}", seen[name])
    writer.add_output(f"{variant}/logits", logits)
    return shapes


def main() -> None:
    """Write `tests/parity/effnet-unetpp`."""
    import segmentation_models_pytorch as smp

    torch.set_num_threads(1)
    writer = BundleWriter.start("effnet-unetpp")
    image = generator("input").integers(0, 256, (1, 3, SIZE, SIZE), dtype=np.uint8)
    writer.add_input("input", image)
    tensors = {variant: run(variant, image, writer) for variant in VARIANTS}
    parameters = {}
    for number in range(8):
        network = build(f"b{number}")
        parameters[f"b{number}"] = {
            "encoder": count(network.encoder),
            "decoder": count(network.decoder),
            "total": count(network),
        }
    about = {
        "library": f"segmentation_models_pytorch {smp.__version__} (MIT)",
        "torch": torch.__version__,
        "numpy": np.__version__,
        "input": "uint8 drawn by the generator of the name 'input'; the network sees value / 127.5 - 1",
        "parameters": parameters,
        "tensors": tensors,
    }
    print(writer.write(about))


if __name__ == "__main__":
    main()
