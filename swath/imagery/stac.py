"""STAC items that say which model, weights and imagery made a result.

An item is a STAC 1.1.0 Feature with the extensions processing 1.2 (how it was made), mlm 1.4 (the model),
projection 2.0, file 2.1, classification 2.0 and raster 2.0. It depends on the result and on what it is told
alone: the time of day enters only where the caller gives it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from rasterio.errors import NotGeoreferencedWarning

from swath import __version__
from swath.imagery.atomic import AtomicOutput, output_errors
from swath.imagery.grid import Grid
from swath.imagery.lonlat import bounding_box, footprint, parse_crs

MEDIA_TYPES: Mapping[str, str] = {
    ".tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".tiff": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".gpkg": "application/geopackage+sqlite3",
    ".geojson": "application/geo+json",
    ".parquet": "application/vnd.apache.parquet",
    ".fgb": "application/vnd.flatgeobuf",
    ".json": "application/json",
    ".txt": "text/plain",
    ".csv": "text/csv",
    ".png": "image/png",
}
"""Media type by file suffix."""

MODEL_TASKS = frozenset({
    "regression", "classification", "scene-classification", "detection", "object-detection", "segmentation",
    "semantic-segmentation", "instance-segmentation", "panoptic-segmentation", "similarity-search", "generative",
    "image-captioning", "super-resolution",
})  # fmt: skip
"""The tasks that the mlm extension knows by name."""

_EXTENSION = "https://stac-extensions.github.io/{}/schema.json"
_RESULT_DIMENSIONS: Mapping[str, tuple[str, ...]] = {
    "classification": ("batch", "class"),
    "scene-classification": ("batch", "class"),
    "detection": ("batch", "object", "value"),
    "object-detection": ("batch", "object", "value"),
    "similarity-search": ("batch", "embedding"),
    "image-captioning": ("batch", "token"),
}
_DENSE = ("batch", "class", "height", "width")
# STAC wants a time of every item; where none is known, the widest span is the only true one.
_ANY_TIME = {"start_datetime": "1900-01-01T00:00:00Z", "end_datetime": "9999-12-31T23:59:59Z"}


@dataclass(frozen=True, kw_only=True)
class ModelProvenance:
    """The model that made a result.

    `tasks` are names of `MODEL_TASKS` (others are kept aside), `bands` the roles of its input channels in
    order, `classes` the names of its output classes. `weights_sha256` is the hexadecimal digest of the
    weights file, and `weights_href` where that lies.

    >>> ModelProvenance(name="trees", version="1.0", architecture="U-Net", tasks=("semantic-segmentation",),
    ...                 bands=("red", "nir")).weights_sha256 is None
    True
    """

    name: str
    version: str
    architecture: str
    tasks: tuple[str, ...]
    bands: tuple[str, ...]
    classes: tuple[str, ...] = ()
    weights_sha256: str | None = None
    weights_href: str | None = None
    parameters: int | None = None


@dataclass(frozen=True, kw_only=True)
class SceneProvenance:
    """Imagery that a result was made of: its slot's name, path or address, the bands used, and its fingerprint.

    >>> SceneProvenance(name="image", href="scene.tif", bands=("red",), fingerprint="c0ffee").name
    'image'
    """

    name: str
    href: str
    bands: tuple[str, ...]
    fingerprint: str


def result_item(
    outputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    grid: Grid,
    acquired: datetime | Sequence[datetime] | None,
    model: ModelProvenance,
    inputs: Sequence[SceneProvenance],
    options: Mapping[str, Any],
    created: datetime | None = None,
    identifier: str | None = None,
) -> dict[str, Any]:
    """Describe the finished files `outputs` of one run as a STAC item, to be written beside the first of them.

    `acquired` is when the imagery was taken (UTC where it has no zone); several times become a span, and
    without one the item says `swath:datetime_unknown`. `options` are what the run was asked to do. An image
    without a reference system gives an item without geometry. `identifier` is the first file's stem where
    none is given.

    Raises `OutputFailed` for an output that cannot be read, `GridMismatch` for a reference system that is
    none.

    >>> import tempfile
    >>> from swath.geometry.windows import Size
    >>> from swath.imagery.grid import Affine
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     answer = Path(folder, "answer.txt")
    ...     _ = answer.write_text("three ships")
    ...     item = result_item(
    ...         answer, grid=Grid(crs="EPSG:4326", transform=Affine(1, 0, 5, 0, -1, 50), size=Size(1, 1)),
    ...         acquired=datetime(2024, 5, 1, tzinfo=UTC), inputs=(), options={},
    ...         model=ModelProvenance(name="ships", version="1", architecture="CNN", tasks=(), bands=("red",)))
    >>> item["id"], item["bbox"], item["properties"]["datetime"]
    ('answer', [5.0, 49.0, 6.0, 50.0], '2024-05-01T00:00:00Z')
    """
    paths = [Path(outputs)] if isinstance(outputs, (str, os.PathLike)) else [Path(path) for path in outputs]
    folder = paths[0].parent
    assets = {key: _asset(path, folder) for key, path in zip(_asset_keys(paths), paths, strict=True)}
    assets["model"] = _model_asset(model)
    properties = (
        _time_properties(acquired, created)
        | _processing_properties(model, inputs, options)
        | _model_properties(model)
        | _projection_properties(grid)
    )
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": _extensions(properties, assets),
        "id": identifier or paths[0].stem,
        "geometry": None,
        "properties": properties,
        "links": [_derived_from(scene, folder) for scene in inputs],
        "assets": assets,
    }
    if grid.crs is not None:
        shape = footprint(grid)
        item["geometry"] = json.loads(shapely.to_geojson(shapely.transform(shape, lambda xy: np.round(xy, 7))))
        item["bbox"] = [round(value, 7) for value in bounding_box(shape)]
    return item


def write_item(path: str | os.PathLike[str], item: Mapping[str, Any], *, overwrite: bool = False) -> Path:
    """Write an item as JSON, whole or not at all, and return its path; raises as `AtomicOutput` does.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_item(Path(folder, "item.json"), {"type": "Feature"}).read_text()
    '{\\n  "type": "Feature"\\n}\\n'
    """
    text = json.dumps(item, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with AtomicOutput(path, overwrite=overwrite) as part, output_errors(path):
        part.write_text(text, encoding="utf-8", newline="\n")
    return Path(path)


def _time_properties(acquired: datetime | Sequence[datetime] | None, created: datetime | None) -> dict[str, Any]:
    times = [acquired] if isinstance(acquired, datetime) else sorted(acquired or (), key=_in_utc)
    found: dict[str, Any]
    if not times:
        found = {"datetime": None, **_ANY_TIME, "swath:datetime_unknown": True}
    elif len(times) == 1:
        found = {"datetime": _timestamp(times[0])}
    else:
        found = {
            "datetime": None,
            "start_datetime": _timestamp(times[0]),
            "end_datetime": _timestamp(times[-1]),
        }
    if created is not None:
        found["created"] = _timestamp(created)
    return found


def _processing_properties(
    model: ModelProvenance, inputs: Sequence[SceneProvenance], options: Mapping[str, Any]
) -> dict[str, Any]:
    used = "; ".join(f"{scene.name} ({', '.join(scene.bands)}) of {scene.href}" for scene in inputs)
    return {
        "processing:lineage": f"Made by Swath {__version__} with the model {model.name} {model.version} from: "
        f"{used or 'no imagery'}.",
        "processing:software": {"swath": __version__, model.name: model.version},
        "processing:expression": {
            "format": "swath-options",
            # Through JSON and back, so that the item holds plain values in a fixed order.
            "expression": json.loads(json.dumps(dict(options), sort_keys=True, default=str)),
        },
    }


def _model_properties(model: ModelProvenance) -> dict[str, Any]:
    tasks = [task for task in model.tasks if task in MODEL_TASKS]
    dimensions = _RESULT_DIMENSIONS.get(tasks[0] if tasks else "", _DENSE)
    known = {"batch": -1, "class": len(model.classes) or -1}
    output: dict[str, Any] = {
        "name": "result",
        "tasks": tasks,
        "result": {
            "shape": [known.get(name, -1) for name in dimensions],
            "dim_order": list(dimensions),
            "data_type": "float32",
        },
    }
    if model.classes:
        output["classification:classes"] = [_class_entry(value, title) for value, title in enumerate(model.classes)]
    found: dict[str, Any] = {
        "mlm:name": _model_name(model.name),
        "mlm:architecture": model.architecture,
        "mlm:framework": "PyTorch",
        "mlm:tasks": tasks,
        "mlm:input": [
            {
                "name": "image",
                "bands": list(model.bands),
                "input": {
                    "shape": [-1, len(model.bands), -1, -1],
                    "dim_order": ["batch", "channel", "height", "width"],
                    "data_type": "float32",
                },
            }
        ],
        "mlm:output": [output],
    }
    if model.parameters is not None:
        found["mlm:total_parameters"] = model.parameters
    if tasks != list(model.tasks):
        found["swath:tasks"] = list(model.tasks)
    # The mlm extension wants the bands that its inputs name described here; results have bands of their own.
    found["bands"] = [{"name": band} for band in model.bands]
    return found


def _model_name(name: str) -> str:
    """Return the name with what the mlm extension does not allow in one replaced.

    >>> _model_name("btc_base@levir-cd")
    'btc_base-levir-cd'
    """
    plain = re.sub(r"[^a-zA-Z0-9_.\-\s]", "-", name).strip("-_. ")
    return plain if re.match(r"[a-zA-Z].+", plain) else f"model-{plain or 'unnamed'}"


def _projection_properties(grid: Grid) -> dict[str, Any]:
    t = grid.transform
    found: dict[str, Any] = {
        "proj:code": None,
        "proj:shape": [grid.size.height, grid.size.width],
        "proj:transform": [float(number) for number in (t.a, t.b, t.c, t.d, t.e, t.f)],
    }
    if grid.crs is None:
        return found
    crs = parse_crs(grid.crs)
    authority = crs.to_authority()
    if authority is None:
        found["proj:wkt2"] = crs.to_wkt(version="WKT2_2019")
    else:
        found["proj:code"] = ":".join(authority)
    found["proj:bbox"] = list(grid.bounds)
    return found


def _asset_keys(paths: Sequence[Path]) -> list[str]:
    """Name each file by its suffix, and by its whole name where two have the same."""
    suffixes = [path.suffix.lower().lstrip(".") or "result" for path in paths]
    return [suffix if suffixes.count(suffix) == 1 else path.name for suffix, path in zip(suffixes, paths, strict=True)]


def _asset(path: Path, folder: Path) -> dict[str, Any]:
    suffix = path.suffix.lower()
    with output_errors(path), path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    asset: dict[str, Any] = {
        "href": _relative(path, folder),
        "type": MEDIA_TYPES.get(suffix, "application/octet-stream"),
        "roles": ["data"],
        "file:size": path.stat().st_size,
        "file:checksum": _multihash(digest),
    }
    if suffix in (".tif", ".tiff"):
        asset["bands"] = _raster_bands(path)
    elif suffix == ".geojson":
        asset["proj:code"] = "OGC:CRS84"
    return asset


def _raster_bands(path: Path) -> list[dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as raster:
            bands = []
            for index in range(raster.count):
                band: dict[str, Any] = {
                    "name": raster.descriptions[index] or f"band{index + 1}",
                    "data_type": raster.dtypes[index],
                }
                if raster.nodata is not None:
                    band["nodata"] = "nan" if np.isnan(raster.nodata) else raster.nodata
                if raster.units[index]:
                    band["unit"] = raster.units[index]
                if (raster.scales[index], raster.offsets[index]) != (1.0, 0.0):
                    band["raster:scale"], band["raster:offset"] = raster.scales[index], raster.offsets[index]
                bands.append(band)
            tags = raster.tags()
    if "CLASS_NAMES" in tags:
        bands[0]["classification:classes"] = _classes(tags)
    return bands


def _classes(tags: Mapping[str, str]) -> list[dict[str, Any]]:
    colours = json.loads(tags.get("CLASS_COLOURS", "{}"))
    classes = []
    for value, title in enumerate(json.loads(tags["CLASS_NAMES"])):
        entry = _class_entry(value, title)
        if str(value) in colours:
            red, green, blue, _ = colours[str(value)]
            entry["color_hint"] = f"{red:02X}{green:02X}{blue:02X}"
        classes.append(entry)
    return classes


def _class_entry(value: int, title: str) -> dict[str, Any]:
    # The classification extension allows names of letters, digits, underscores and dashes alone.
    name = re.sub(r"[^0-9A-Za-z_-]+", "-", title).strip("-") or f"class-{value}"
    return {"value": value, "name": name, "title": title}


def _model_asset(model: ModelProvenance) -> dict[str, Any]:
    asset: dict[str, Any] = {
        "href": model.weights_href or f"urn:swath:model:{_model_name(model.name)}:{model.version}",
        "type": "application/octet-stream",
        "title": f"Weights of {model.name} {model.version}",
        "roles": ["mlm:model", "mlm:weights"],
        "mlm:artifact_type": "safetensors.torch.save_file",
    }
    if model.weights_sha256:
        asset["file:checksum"] = _multihash(model.weights_sha256)
    return asset


def _derived_from(scene: SceneProvenance, folder: Path) -> dict[str, Any]:
    local = "://" not in scene.href and not Path(scene.href).is_absolute() and Path(scene.href).exists()
    return {
        "rel": "derived_from",
        "href": _relative(Path(scene.href), folder) if local else scene.href,
        "title": scene.name,
        "swath:bands": list(scene.bands),
        "swath:fingerprint": scene.fingerprint,
    }


def _extensions(properties: Mapping[str, Any], assets: Mapping[str, Mapping[str, Any]]) -> list[str]:
    bands = [band for asset in assets.values() for band in asset.get("bands", ())]
    classes = any("classification:classes" in entry for entry in [*bands, *properties["mlm:output"]])
    names = ["processing/v1.2.0", "mlm/v1.4.0", "projection/v2.0.0", "file/v2.1.0"]
    names += ["classification/v2.0.0"] if classes else []
    names += ["raster/v2.0.0"] if any("raster:scale" in band for band in bands) else []
    return [_EXTENSION.format(name) for name in names]


def _relative(path: Path, folder: Path) -> str:
    related = Path(os.path.relpath(path, folder)).as_posix()
    return related if related.startswith("../") else f"./{related}"


def _multihash(sha256: str) -> str:
    """Write a SHA-256 digest as a multihash: 0x12 is its code, 0x20 its length in bytes."""
    return f"1220{sha256}"


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _timestamp(moment: datetime) -> str:
    return _in_utc(moment).isoformat().replace("+00:00", "Z")
