"""The verbs of the command line.

Every failure that Swath foresees is one sentence on the error stream and exit status 2; nothing is left under the
name of a result that is not complete.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from swath.errors import ConfigurationError, SwathError, SwathWarning

app = typer.Typer(
    name="swath",
    help="Understand Earth-observation imagery: imagery in, map out.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Look after data sets.", rich_markup_mode=None)
app.add_typer(data_app, name="data")
_INTERRUPTED = 130
errors = Console(stderr=True, highlight=False, soft_wrap=True)
out = Console(highlight=False, soft_wrap=True)

ModelArgument = Annotated[str, typer.Argument(help="A model that ships (swath systems) or a folder of weights.")]
BandsOption = Annotated[
    str | None, typer.Option(help="Which file band is which: red=3,green=2,blue=1, or a sensor's name.")
]
UnitOption = Annotated[str | None, typer.Option(help="Unit of the values: 8-bit, reflectance, dn, db, kelvin, ...")]
WindowOption = Annotated[
    int | None, typer.Option(help="Window in pixels; chosen from the model and memory if left out.")
]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda, or auto.")]
ResumeOption = Annotated[bool, typer.Option(help="Go on with an unfinished run of the same output.")]
OverwriteOption = Annotated[bool, typer.Option(help="Replace a result that is already there.")]


def main() -> None:
    """Run the command line and turn foreseen failures into one sentence and status 2."""
    warnings.showwarning = _show_warning
    warnings.filterwarnings("always", category=SwathWarning)
    try:
        # Typer answers with the status of an early end: 130 after an interrupt.
        status = app(args=sys.argv[1:] or ["--help"], standalone_mode=False) or 0
    except SwathError as error:
        errors.print(f"swath: {error}", markup=False)
        sys.exit(2)
    except Exception as error:
        # Typer carries its own copy of click, whose usage errors are known by this method alone.
        if not hasattr(error, "format_message"):
            raise
        errors.print(f"swath: {error.format_message()} See swath --help.", markup=False)
        sys.exit(2)
    if status == _INTERRUPTED:
        errors.print("swath: interrupted; run the same command again to go on from where it stopped.")
        sys.exit(2)
    if status:
        sys.exit(status)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: object = None,
) -> None:
    del filename, lineno, file, line
    if issubclass(category, SwathWarning):
        errors.print(f"note: {message}")


@app.command()
def predict(
    model: ModelArgument,
    scenes: Annotated[list[str], typer.Argument(help="A file or address; slots as before=a.tif after=b.tif.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Result; its suffix says the format.")],
    bands: BandsOption = None,
    unit: UnitOption = None,
    window: WindowOption = None,
    device: DeviceOption = "auto",
    resume: ResumeOption = True,
    overwrite: OverwriteOption = False,
) -> None:
    """Predict a scene of any size into a map: GeoTIFF, GeoPackage, GeoJSON, GeoParquet or FlatGeobuf.

    Several scenes without slot names are predicted one by one into the folder that -o names.
    """
    from swath.api import load
    from swath.cli.progress import ProgressLine
    from swath.cli.scenes import jobs, open_job
    from swath.inference.options import RunOptions

    planned = jobs(scenes, output)
    loaded = load(model)
    options = RunOptions(window=window, device=device)
    for job in planned:
        with open_job(job, bands=bands, unit=unit) as scene, ProgressLine(errors, job.title) as line:
            result = loaded.predict_to(
                scene,
                job.output_for(loaded.model),
                options=options,
                overwrite=overwrite,
                resume=resume,
                progress=line.show,
            )
        resumed = f", {result.resumed_rows} rows of windows from the run before" if result.resumed_rows else ""
        out.print(f"{result.output} ({result.windows} windows in {result.seconds:.1f} s{resumed}; {result.item.name})")


@app.command()
def evaluate(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL... DATA",
            help="One model or several (names, folders, or JSON reports of earlier runs), and last the data: "
            "DATASET=FOLDER, PROTOCOL=FOLDER, or a folder of class folders.",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="JSON report; named by model and data if left out.")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="A page with the comparison or the curves (.html).")] = None,
    corrupt: Annotated[
        str | None, typer.Option(help="Also on imagery made worse: all, or names of corruptions with commas.")
    ] = None,
    severities: Annotated[str, typer.Option(help="Of the corruptions, 1 to 5.")] = "1,2,3,4,5",
    frozen: Annotated[
        bool, typer.Option("--frozen", help="Judge by frozen features instead: nearest neighbours and a linear probe.")
    ] = False,
    size: Annotated[int | None, typer.Option(help="With --frozen: side in pixels to which images are resized.")] = None,
    device: DeviceOption = "auto",
    limit: Annotated[int | None, typer.Option(help="Evaluate so many samples, evenly spaced.")] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Measure a model by a named protocol, or compare several: figures with intervals, tests, and a JSON report."""
    from swath.cli.judging import Judging

    judging = Judging.of(
        words, output=output, page=page, device=device, limit=limit, overwrite=overwrite, out=out, errors=errors
    )
    if corrupt is not None and frozen:
        raise ConfigurationError("--corrupt and --frozen are two evaluations; ask for one at a time.")
    if size is not None and not frozen:
        raise ConfigurationError("--size is for --frozen; otherwise images are seen as the protocol says.")
    if frozen:
        judging.frozen(size=size)
    elif corrupt is not None:
        judging.corrupted(corrupt, severities)
    else:
        judging.run()


@app.command()
def train(
    model: Annotated[
        str, typer.Argument(help="A builder, such as landuse, trees or rsmamba_base; or linear-probe, with --embedder.")
    ],
    data: Annotated[str, typer.Argument(help="DATASET=FOLDER.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for the log, checkpoints and the best weights.")
    ],
    epochs: Annotated[int | None, typer.Option(help="Epochs, instead of the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples a step, instead of the recipe's.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Its peak, instead of the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed, instead of the recipe's.")] = None,
    validation: Annotated[
        float | None, typer.Option(help="Share of the training part held back to choose the weights by.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Side in pixels to which images are resized, instead of the network's.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option("--from", help="Weights to start from: a model by name or folder, or a file of published ones."),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(help="Trained weights whose answers are part of the labels (recipes with a teacher_share)."),
    ] = None,
    embedder: Annotated[
        str | None,
        typer.Option(help="Of linear-probe: a model by name or folder, a builder such as dinov2_small, mosaiks_512_3."),
    ] = None,
    device: DeviceOption = "auto",
    resume: ResumeOption = True,
) -> None:
    """Train a model by the recipe that lives beside it; the best weights are left in OUTPUT/best."""
    from swath.cli.training import Training

    training = Training(
        model=model,
        data=data,
        folder=output,
        validation=validation,
        seed=seed,
        size=size,
        weights=weights,
        device=device,
        out=out,
        errors=errors,
    )
    changes = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    if training.is_probe:
        training.probe(embedder, unused={**changes, "teacher": teacher})
    else:
        training.network(changes, teacher=teacher, resume=resume, embedder=embedder)


@data_app.command("check")
def data_check(
    dataset: Annotated[str, typer.Argument(help="A declared data set, such as eurosat.")],
    folder: Annotated[Path, typer.Argument(help="Where its files lie.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON report.")] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Look through a data set: what is missing, unreadable, mislabelled, or in two parts at once."""
    from swath.cli.progress import counting
    from swath.datasets.check import check
    from swath.datasets.registry import dataset as dataset_named
    from swath.imagery.atomic import AtomicOutput

    with counting(errors, "looking") as progress:
        report = check(dataset_named(dataset), folder, progress=progress)
    out.print(str(report), markup=False)
    if output is not None:
        with AtomicOutput(output, overwrite=overwrite) as part:
            part.write_text(json.dumps(report.to_json(), indent=2) + "\n", encoding="utf-8")
    if not report.ok:
        raise typer.Exit(2)


@app.command()
def systems(
    state: Annotated[str | None, typer.Option(help="Only those complete, partial or planned.")] = None,
) -> None:
    """List the 76 published systems, how far each is, and the models whose weights ship."""
    from rich.table import Table

    from swath.api import shipped_names
    from swath.catalog import load_catalog

    if state not in (None, "complete", "partial", "planned"):
        raise ConfigurationError(f"'{state}' is no state; use complete, partial or planned.")
    table = Table("slug", "family", "state", "system", box=None, pad_edge=False)
    chosen = [system for system in load_catalog().systems if state in (None, system.state)]
    for system in chosen:
        table.add_row(system.slug, system.family, system.state, system.name)
    out.print(table)
    out.print(f"\n{len(chosen)} systems. Weights that ship: {', '.join(shipped_names()) or 'none'}.")


@app.command()
def info(name: Annotated[str, typer.Argument(help="A model, a folder of weights, or a system's slug.")]) -> None:
    """Print the card of a model or a system: who published it, licences, variants, figures, choices, limits."""
    from swath.cli.info import describe

    out.print(describe(name), markup=False)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the report.")] = Path("demo-report"),
) -> None:
    """Count trees and map land use on included imagery, and write a report to look at."""
    from swath.demo.run import run_demo

    out.print(f"The report is at {run_demo(output, say=errors.print).resolve()}")
