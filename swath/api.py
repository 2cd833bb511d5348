"""The face of Swath in Python: the same words as the command line.

>>> import swath
>>> swath.bands("naip")
('red', 'green', 'blue', 'nir')
"""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from swath.benchmarks.change_baselines import CHANGE_BASELINES
from swath.benchmarks.feature_extractors import BASELINES, FeatureExtractor, extractor, model_extractor
from swath.benchmarks.measure import measure
from swath.benchmarks.probe_training import TrainedProbe
from swath.benchmarks.probe_training import train_linear_probe as train_probe
from swath.benchmarks.protocol import evaluate as evaluate_by_protocol
from swath.benchmarks.registry import parse_protocol_argument
from swath.benchmarks.temperature import choose_temperature
from swath.benchmarks.threshold import choose_threshold
from swath.catalog import Catalog, closest, load_catalog
from swath.datasets.registry import parse_data_argument
from swath.errors import ConfigurationError, SwathWarning, UnknownModel
from swath.imagery.scene import Scene, open_scene
from swath.imagery.sensors import sensor
from swath.inference.options import RunOptions
from swath.inference.runner import Progress, RunResult, predict_scene, run
from swath.models.base import Model
from swath.models.outputs import ClassificationOutput, PointOutput
from swath.models.pretrain.embedder import Embedder
from swath.models.published import read_tensors
from swath.models.recipe import Recipe
from swath.models.shipped import SHIPPED, WEIGHTS, ShippedModel
from swath.models.store import CONFIG_FILE, StoredModel, load_model
from swath.training.adapting import (
    WarmStart,
    recipe_for_count,
    recipe_for_size,
    recipe_from_weights,
    start_from,
    with_classes,
    with_size,
)
from swath.training.distributed import Process
from swath.training.keeping import BEST_FOLDER, replace_model
from swath.training.run import open_parts, train_from

if TYPE_CHECKING:
    from swath.benchmarks.compare import ModelComparison
    from swath.benchmarks.predictors import Predictor
    from swath.benchmarks.report import Report
    from swath.benchmarks.robustness import Robustness
    from swath.samples.located import Located
    from swath.training.loop import TrainingResult

    Judged: TypeAlias = "str | Path | LoadedModel | Model | Predictor"
    """What can be measured: a model, where its weights lie, a baseline's name, or anything that predicts."""

__all__ = [
    "LoadedModel",
    "bands",
    "build",
    "compare",
    "compare_frozen",
    "evaluate",
    "evaluate_corrupted",
    "load",
    "open_scene",
    "predict",
    "recipe",
    "train",
    "train_linear_probe",
]


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model with its weights and its card, ready to look at scenes.

    >>> load("trees").card.name
    'trees'
    """

    stored: StoredModel

    @property
    def model(self) -> Model:
        """The network under the contract."""
        return self.stored.model

    @property
    def card(self) -> Any:
        """Who made it, of what, how good it is."""
        return self.stored.card

    def predict(self, scene: Scene, *, options: RunOptions | None = None) -> Located:
        """Return what the model finds in a whole scene, in memory, with its place on the map."""
        return predict_scene(self.stored, scene, options=options)

    def predict_to(
        self,
        scene: Scene,
        output: str | Path,
        *,
        options: RunOptions | None = None,
        overwrite: bool = False,
        resume: bool = True,
        progress: Callable[[Progress], None] | None = None,
    ) -> RunResult:
        """Predict a scene of any size into a file whose suffix says the format; see `inference.runner.run`."""
        return run(self.stored, scene, output, options=options, overwrite=overwrite, resume=resume, progress=progress)


def bands(sensor_name: str) -> tuple[str, ...]:
    """Return the roles of a sensor's bands in their order."""
    return tuple(band.role for band in sensor(sensor_name).bands)


def load(name: str | Path) -> LoadedModel:
    """Load a model by the name under which its weights ship, or from a folder that `save_model` wrote.

    A folder of a training stands for the best weights in it, and these are called after it. Raises `UnknownModel` with
    the nearest names, or what reading the folder raises.
    """
    text = str(name)
    if text in shipped_names():
        return LoadedModel(stored=load_model(WEIGHTS / text))
    if Path(name).is_dir():
        return LoadedModel(stored=_load_folder(Path(name)))
    known = list(shipped_names())
    catalog = load_catalog()
    if text in builders(catalog) or text in catalog.slugs:
        raise UnknownModel(
            f"'{text}' is a system without weights of its own here; train it with swath train, or give a folder of "
            f"weights. With weights there are: {', '.join(known)}."
        )
    raise UnknownModel(
        f"there is no model '{text}'{closest(text, [*known, *builders(catalog)])}; a model is one of "
        f"{', '.join(known)} or a folder with {CONFIG_FILE}."
    )


def _load_folder(folder: Path) -> StoredModel:
    best = folder / BEST_FOLDER
    if (best / CONFIG_FILE).is_file() and not (folder / CONFIG_FILE).is_file():
        folder = best
    stored, whole = load_model(folder), folder.resolve()
    return replace(stored, name=whole.parent.name) if whole.name == BEST_FOLDER else stored


def shipped_names() -> tuple[str, ...]:
    """Return the names under which weights ship."""
    return tuple(ship.name for ship in SHIPPED if (WEIGHTS / ship.name / CONFIG_FILE).is_file())


def builders(catalog: Catalog) -> dict[str, Callable[..., Model]]:
    """Return the functions that build models, by name, from the modules that the catalog names."""
    found: dict[str, Callable[..., Model]] = {ship.name: ship.build for ship in SHIPPED}
    for module_name in catalog.model_modules():
        module = importlib.import_module(module_name)
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module_name and _model_built_by(function) and not name.startswith("_"):
                found[name] = function
    return found


def _model_built_by(function: Callable[..., Any]) -> type[Model] | None:
    answer = inspect.get_annotations(function, eval_str=False).get("return", "")
    kind = getattr(importlib.import_module(function.__module__), str(answer), None)
    return kind if isinstance(kind, type) and issubclass(kind, Model) else None


def build(name: str, **options: Any) -> Model:
    """Build an untrained model by its builder's name, such as `effnet_unetpp_b4` or `rsmamba_base`.

    Raises `UnknownModel` with the nearest names and `ConfigurationError` for options that the builder has not got.

    >>> build("trees").classes
    ('tree',)
    """
    known = builders(load_catalog())
    if name not in known:
        raise UnknownModel(
            f"there is no model builder '{name}'{closest(name, known)}; swath systems lists what there is."
        )
    try:
        return known[name](**options)
    except TypeError as error:
        if "argument" not in str(error):
            raise
        raise ConfigurationError(f"'{name}' cannot be built so: {error}; see help(swath.build).") from error


def recipe(name: str, **changes: Any) -> Recipe:
    """Return the recipe that lives beside a model, with some of its values changed.

    >>> recipe("landuse", epochs=2).epochs
    2
    """
    for ship in SHIPPED:
        if ship.name == name:
            return replace(ship.recipe(), **changes)
    builder = builders(load_catalog()).get(name)
    if builder is None:
        raise UnknownModel(f"there is no recipe for '{name}'; swath systems lists what there is.")
    kind = _model_built_by(builder)
    if kind is not None and issubclass(kind, Embedder):
        raise ConfigurationError(
            f"'{name}' gives features and learns nothing by itself; train a head on them: "
            f"swath train linear-probe DATASET=FOLDER --embedder {name} -o FOLDER."
        )
    module = importlib.import_module(builder.__module__)
    found = [f for n, f in inspect.getmembers(module, inspect.isfunction) if n.endswith("_recipe")]
    own = [f for f in found if f.__module__ == module.__name__]
    if not own:
        raise ConfigurationError(f"'{name}' has no recipe of its own; give one: Recipe(epochs=..., ...).")
    made: Recipe = own[0]()
    return replace(made, **changes)


def predict(
    model: str | Path | LoadedModel, scene: Scene, output: str | Path | None = None, **options: Any
) -> Located | RunResult:
    """Predict a scene with a model: in memory without `output`, into a file with it."""
    loaded = model if isinstance(model, LoadedModel) else load(model)
    if output is None:
        return loaded.predict(scene, **options)
    return loaded.predict_to(scene, output, **options)


def train(
    model: str | Model,
    data: str,
    *,
    folder: str | Path,
    recipe: Recipe | None = None,
    validation: float | str | None = None,
    teacher: str | Path | None = None,
    weights: str | Path | None = None,
    size: int | None = None,
    **options: Any,
) -> TrainingResult:
    """Train a model on `DATASET=FOLDER` by a recipe, validating by the data set's first protocol.

    `model` is a builder's name or a model; a named one is built for the data set's classes, for images of `size` pixels
    where that is said, and starts from weights drawn by the recipe's seed. With `weights` (a model by name or folder,
    or a file of published weights) it starts from these: a head for other classes stays fresh, and earlier layers learn
    slower. No step sees more samples than there are.

    The weights that validated best are left in `folder/best`. The validation part is the share `validation` of the
    training part, or a part by name; it also chooses the threshold of a model of points and the temperature of a
    classifier. `teacher` is a trained model, by name or folder, for recipes that learn from one; a model that ships has
    its own, which is trained first, into `folder/teacher`. The options are those of `training.train`.
    """
    argument = parse_data_argument(data)
    protocol = parse_protocol_argument(data).protocol
    ship = next((ship for ship in SHIPPED if ship.name == model), None)
    chosen = recipe or _recipe_of(model, ship)
    usual = 0.1 if ship is None else ship.validation
    share = usual if validation is None else validation
    if isinstance(model, Model) and size is not None:
        raise ConfigurationError("a model given as an object has its image size already; leave the size out.")
    built = _fresh(model, chosen.seed, argument.spec.classes, size=size) if isinstance(model, str) else model
    if size is not None:
        chosen = recipe_for_size(chosen, size)
    if weights is not None:
        _say_once(f"starting from {weights}: {_start(built, weights).summary()}.")
        chosen = recipe_from_weights(chosen, built)
    learning = open_parts(argument.spec, argument.root, validation=share, seed=chosen.seed).learning
    chosen = recipe_for_count(chosen, len(learning) // Process.from_environment().world)
    result = train_from(
        built,
        argument.spec,
        argument.root,
        chosen,
        folder=folder,
        evaluate=lambda current, part: measure(current, protocol, part),
        validation=share,
        cached=True,
        teacher=_teacher(teacher, ship, chosen, data, validation=share, folder=Path(folder) / "teacher", **options),
        **options,
    )
    best = load_model(result.folder / BEST_FOLDER, model_class=type(built))
    output = getattr(best.model.config, "output", None)
    if isinstance(output, (PointOutput, ClassificationOutput)) and Process.from_environment().is_main:
        held_back = open_parts(argument.spec, argument.root, validation=share, seed=chosen.seed).validation
        if isinstance(output, PointOutput):
            choose_threshold(best.model, held_back, protocol)
        else:
            choose_temperature(best.model, held_back)
        replace_model(best.model, result.folder / BEST_FOLDER, card=best.card)
    return result


def train_linear_probe(
    embedder: str | Path | LoadedModel | Model,
    data: str,
    *,
    folder: str | Path,
    validation: float | str | None = None,
    seed: int = 0,
    weights: str | Path | None = None,
    size: int | None = None,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> TrainedProbe:
    """Fit a linear head on the features of a frozen model on `DATASET=FOLDER`, and save both as one model.

    `embedder` is a model by name or folder, a builder such as `dinov2_small` (whose weights are random, unless
    `weights` names some), or a baseline such as `mosaiks_512_3`. The rest is that of
    `benchmarks.probe_training.train_linear_probe`.
    """
    argument = parse_data_argument(data)
    return train_probe(
        _extractor(embedder, argument.spec.classes, seed=seed, weights=weights),
        argument.spec,
        argument.root,
        folder=folder,
        validation=0.1 if validation is None else validation,
        seed=seed,
        size=size,
        device=RunOptions(device=device).torch_device(),
        progress=progress,
    )


def _extractor(
    embedder: str | Path | LoadedModel | Model,
    classes: tuple[str, ...],
    *,
    seed: int = 0,
    weights: str | Path | None = None,
) -> FeatureExtractor:
    """Return what makes features of a model, a folder, a name or a builder; classifiers are built for `classes`."""
    if isinstance(embedder, Model):
        return model_extractor(embedder, type(embedder).card().name)
    name = str(embedder) if isinstance(embedder, (str, Path)) else embedder.stored.name
    if name in BASELINES or isinstance(embedder, LoadedModel) or name in shipped_names() or Path(name).is_dir():
        if weights is not None:
            raise ConfigurationError(f"'{name}' has its weights already; give weights for a builder, or none.")
        if name in BASELINES and not isinstance(embedder, LoadedModel):
            return extractor(name)
        loaded = embedder if isinstance(embedder, LoadedModel) else load(name)
        stored = loaded.stored
        return model_extractor(stored.model, stored.name, origin=f"those of {stored.name} ({stored.sha256[:12]})")
    known = builders(load_catalog())
    if name not in known:
        names = [*shipped_names(), *BASELINES, *known]
        raise UnknownModel(
            f"there is no embedder '{name}'{closest(name, names)}; it is a model by name, a folder of weights, a "
            f"builder such as dinov2_small, or one of {', '.join(BASELINES)}."
        )
    model = _fresh(name, seed, classes)
    found = model_extractor(model, name)
    if weights is not None:
        _say_once(f"{name} starts from {weights}: {_start(model, weights).summary()}.")
        return replace(found, origin=f"those of {Path(weights).name}")
    if next(model.parameters(), None) is None:
        return found
    _say_once(f"no weights are given for {name}: its features are those of a random network.")
    return replace(found, origin=f"random ones that nobody trained (seed {seed})")


def _start(model: Model, weights: str | Path) -> WarmStart:
    """Give a model the weights of another, by name or folder, or of a file."""
    if str(weights) in shipped_names() or Path(weights).is_dir():
        return start_from(model, load(weights).stored, origin=str(weights))
    return start_from(model, read_tensors(weights), origin=str(weights))


def _say_once(what: str) -> None:
    """Tell the user, in one of several processes."""
    if Process.from_environment().is_main:
        warnings.warn(what, SwathWarning, stacklevel=3)


def _fresh(name: str, seed: int, classes: tuple[str, ...], *, size: int | None = None) -> Model:
    """Build a model from weights drawn by the seed, for a data set's classes where it tells the class of an image."""
    builder = builders(load_catalog()).get(name)
    asks = builder is not None and "classes" in inspect.signature(builder).parameters
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(name, classes=classes) if asks else build(name)
        model = _for_classes(model, classes)
        return model if size is None else with_size(model, size)


def _for_classes(model: Model, classes: tuple[str, ...]) -> Model:
    """Build a classifier of images anew for other classes; other models stay, and are refused where they do not fit."""
    tells = isinstance(getattr(model.config, "output", None), ClassificationOutput)
    return with_classes(model, classes) if tells else model


def _teacher(
    teacher: str | Path | None, ship: ShippedModel | None, recipe: Recipe, data: str, **options: Any
) -> StoredModel | None:
    """Load the teacher that was given, or train the model's own, on the same part and for no more epochs."""
    if teacher is not None:
        return load(teacher).stored
    own = ship.teacher if ship is not None and recipe.teacher_share else None
    if own is None:
        return None
    lessons = own.recipe()
    lessons = replace(lessons, epochs=min(lessons.epochs, recipe.epochs), seed=recipe.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        built = _for_classes(own.build(), parse_data_argument(data).spec.classes)
    result = train(built, data, recipe=lessons, **options)
    return load_model(result.folder / BEST_FOLDER)


def _recipe_of(model: str | Model, ship: ShippedModel | None) -> Recipe:
    if ship is not None:
        return ship.recipe()
    if isinstance(model, str):
        return recipe(model)
    raise ConfigurationError("a model given as an object needs its recipe: train(model, data, recipe=...).")


def evaluate(model: Judged, data: str, **options: Any) -> Report:
    """Measure a model by `PROTOCOL=FOLDER` or `DATASET=FOLDER`; the options are those of `benchmarks.evaluate`.

    Baselines of change, which learn nothing, go by name: difference-otsu, ir-mad and random-change.
    """
    argument = parse_protocol_argument(data)
    return evaluate_by_protocol(_judged(model), argument.protocol, argument.root, **options)


def evaluate_corrupted(model: Judged, data: str, **options: Any) -> Robustness:
    """Measure a model on clean imagery and under corruptions; the options are those of `benchmarks.robustness`."""
    from swath.benchmarks import robustness

    argument = parse_protocol_argument(data)
    return robustness.evaluate_corrupted(_judged(model), argument.protocol, argument.root, **options)


def compare(*models: Judged, data: str, **options: Any) -> ModelComparison:
    """Measure several models on the same images, with intervals, calibration and paired tests against the first."""
    from swath.benchmarks import compare as comparison

    return comparison.compare(*(evaluate(model, data, **options) for model in models))


def compare_frozen(
    *models: str | Path | LoadedModel | Model, data: str, seed: int = 0, device: str = "auto", **options: Any
) -> ModelComparison:
    """Judge models by their frozen features: 5 nearest neighbours and a linear probe of each, in one table.

    Models are those that `train_linear_probe` takes as embedders; the options are those of
    `benchmarks.frozen_reports.frozen_reports`. Raises `ConfigurationError` for a model without an embedding before any
    is run.
    """
    from swath.benchmarks import compare as comparison
    from swath.benchmarks.frozen_reports import frozen_reports

    argument = parse_protocol_argument(data)
    extractors = [_extractor(model, argument.protocol.dataset.classes, seed=seed) for model in models]
    where = RunOptions(device=device).torch_device()
    reports = [
        report
        for one in extractors
        for report in frozen_reports(one, argument.protocol, argument.root, seed=seed, device=where, **options)
    ]
    return comparison.compare(*reports)


def _judged(model: Judged) -> StoredModel | Model | Predictor:
    if isinstance(model, (str, Path)):
        model = CHANGE_BASELINES.get(str(model)) or load(model)
    return model.stored if isinstance(model, LoadedModel) else model
