"""Make the parity bundle of RSMamba around the Mamba mixer of `transformers` (a maintainer's tool).

The authors' repository is not run here: everything but the mixer is transcribed below, as literally as it goes, from
the description of the published network, and shares no line with Swath. Every path is a run of the whole mixer of
its own, in the library's plain PyTorch form (token by token, no kernels).

Run it on a CPU in an environment that has transformers (made with 5.24.0) and no Mamba kernels:
`python tests/parity/make_rsmamba.py`.
"""

from __future__ import annotations

import numpy as np
import torch
import transformers
from bundles import BundleWriter
from fill import fill, generator
from torch.nn import functional
from transformers.models.mamba.modeling_mamba import MambaConfig, MambaMixer

PATH_TYPES = {
    "forward": 1,
    "forward_reverse_mean": 2,
    "forward_reverse_gate": 2,
    "forward_reverse_shuffle_gate": 3,
}
LAYERS, WIDTH, CLASSES = 24, 192, 45
SIZE, PATCH, STRIDE = 224, 16, 8
TOKENS = 28 * 28
STORED_LAYERS = (0, 11, 23)

Weights = dict[str, torch.Tensor]


def shapes_of(path_type: str) -> dict[str, list[int]]:
    """Names and shapes of the published state dict for a path type."""
    shapes: dict[str, list[int]] = {
        "backbone.patch_embed.projection.weight": [WIDTH, 3, PATCH, PATCH],
        "backbone.pos_embed": [1, TOKENS, WIDTH],
    }
    for i in range(LAYERS):
        shapes |= {
            f"backbone.layers.{i}.A_log": [384, 16],
            f"backbone.layers.{i}.D": [384],
            f"backbone.layers.{i}.in_proj.weight": [768, 192],
            f"backbone.layers.{i}.conv1d.weight": [384, 1, 4],
            f"backbone.layers.{i}.conv1d.bias": [384],
            f"backbone.layers.{i}.x_proj.weight": [44, 384],
            f"backbone.layers.{i}.dt_proj.weight": [384, 12],
            f"backbone.layers.{i}.dt_proj.bias": [384],
            f"backbone.layers.{i}.out_proj.weight": [192, 384],
        }
        if path_type.endswith("gate"):
            paths = PATH_TYPES[path_type]
            shapes[f"backbone.gate_layers.{i}.0.weight"] = [paths, paths * WIDTH]
    for norm in ("pre_norm", "ln1", "ln2"):
        shapes |= {f"backbone.{norm}.weight": [WIDTH], f"backbone.{norm}.bias": [WIDTH]}
    return shapes | {"head.fc.weight": [CLASSES, WIDTH], "head.fc.bias": [CLASSES]}


def library_mixers(weights: Weights) -> list[MambaMixer]:
    """One mixer of the library for each layer; its tensors have the published names."""
    config = MambaConfig(
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        state_size=16,
        time_step_rank=12,
        conv_kernel=4,
        num_hidden_layers=LAYERS,
        use_bias=False,
        use_conv_bias=True,
        use_mambapy=False,
    )
    mixers = []
    for i in range(LAYERS):
        mixer = MambaMixer(config, layer_idx=i).eval()
        prefix = f"backbone.layers.{i}."
        own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        mixer.load_state_dict(own, strict=True)
        mixers.append(mixer)
    return mixers


def norm(name: str, x: torch.Tensor, weights: Weights) -> torch.Tensor:
    """The LayerNorm of that name."""
    weight, bias = weights[f"backbone.{name}.weight"], weights[f"backbone.{name}.bias"]
    return functional.layer_norm(x, (WIDTH,), weight, bias, eps=1e-6)


def embed(image: torch.Tensor, weights: Weights) -> torch.Tensor:
    """Patches of an image with 8 rows and columns of zeros added at the bottom and the right."""
    padded = torch.zeros(1, 3, SIZE + 8, SIZE + 8)
    padded[:, :, :SIZE, :SIZE] = image
    maps = functional.conv2d(padded, weights["backbone.patch_embed.projection.weight"], stride=STRIDE)
    return maps.reshape(1, WIDTH, TOKENS).permute(0, 2, 1)


def mix(path_type: str, x: torch.Tensor, mixer: MambaMixer, gate: torch.Tensor | None, order: torch.Tensor):
    """The paths' results, each in the order of the image, joined into one; with the paths' shares."""
    results = [mixer(x)]
    if "reverse" in path_type:
        results.append(torch.flip(mixer(torch.flip(x, [1])), [1]))
    if "shuffle" in path_type:
        restored = torch.zeros_like(x)
        restored[:, order] = mixer(x[:, order])
        results.append(restored)
    if gate is None:
        shares = torch.full((1, len(results)), 1 / len(results))
    else:
        shares = torch.softmax(torch.cat([result.mean(1) for result in results], 1) @ gate.T, 1)
    return sum(shares[:, k, None, None] * result for k, result in enumerate(results)), shares


@torch.no_grad()
def run(path_type: str, image: np.ndarray, orders: np.ndarray, writer: BundleWriter) -> dict[str, list[int]]:
    """Store the outputs of a path type under derived weights; returns the shapes of its tensors."""
    shapes = shapes_of(path_type)
    weights = {name: torch.from_numpy(fill(name, shape)) for name, shape in shapes.items()}
    mixers = library_mixers(weights)
    patches = embed(torch.from_numpy(image).float() / 127.5 - 1, weights)
    if "patch_embed" not in writer.outputs:
        writer.add_output("patch_embed", patches.numpy())
    x = patches + weights["backbone.pos_embed"]
    for i, mixer in enumerate(mixers):
        gate = weights.get(f"backbone.gate_layers.{i}.0.weight")
        order = torch.from_numpy(orders[i].astype(np.int64))
        mixed, shares = mix(path_type, norm("pre_norm", x, weights), mixer, gate, order)
        if i in STORED_LAYERS:
            writer.add_output(f"{path_type}/mixer{i}", mixed.numpy())
            print(f"{path_type} {i}: tokens {x.std():.2f}, mixed {mixed.std():.2f}, shares {shares.numpy().round(3)}")
        x = x + mixed
    pooled = norm("ln2", norm("ln1", x, weights).mean(1), weights)
    logits = functional.linear(pooled, weights["head.fc.weight"], weights["head.fc.bias"])
    print(f"{path_type}: tokens {x.std():.2f}, logits {logits.std():.2f}")
    writer.add_output(f"{path_type}/logits", logits.numpy())
    return shapes


def main() -> None:
    """Write `tests/parity/rsmamba`."""
    torch.set_num_threads(1)
    writer = BundleWriter.start("rsmamba")
    image = generator("input").integers(0, 256, (1, 3, SIZE, SIZE), dtype=np.uint8)
    draws = generator("permutations")
    orders = np.stack([draws.permutation(TOKENS) for _ in range(LAYERS)]).astype(np.uint16)
    writer.add_input("input", image)
    writer.add_input("permutations", orders)
    tensors = {path_type: run(path_type, image, orders, writer) for path_type in PATH_TYPES}
    about = {
        "library": f"MambaMixer of transformers {transformers.__version__} (Apache-2.0), the rest transcribed",
        "torch": torch.__version__,
        "numpy": np.__version__,
        "input": "uint8 drawn by the generator of the name 'input'; the network sees value / 127.5 - 1",
        "permutations": "a row a layer: the shuffled sequence is x[:, permutation]",
        "tensors": tensors,
    }
    print(writer.write(about))


if __name__ == "__main__":
    main()
