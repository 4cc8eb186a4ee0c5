"""The command line: each command is a sentence of help and a call; no logic lives here.

Heavy imports wait until a command runs, so that ``--help`` is instant.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from . import __version__, options
from .home import Home


class _Failed(click.ClickException):
    """What a user reads instead of a traceback."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.exit_code = status  # type: ignore[misc]  # click declares it for the class, and reads the instance


class _Commands(click.Group):
    """The one place where an exception becomes a message and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            raise _Failed("interrupted", 130) from None
        except Exception as error:
            from .failures import explain

            if (said := explain(error)) is None:
                raise
            raise _Failed(*said) from None


def _show(found: Any, as_json: bool, say: str) -> None:
    """Prints an answer: as JSON, or with the function `say` of `printing`."""
    from . import printing

    if as_json:
        click.echo(printing.as_json(found))
    else:
        getattr(printing, say)(found)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sprite-search")
def main() -> None:
    """Search the settings of sprite models, choose without labels, and use the winner."""


@main.command()
@click.argument("spaces", nargs=-1, required=True, metavar="SPACE…", type=click.Path(path_type=Path))
@options.as_json
def check(spaces: tuple[Path, ...], as_json: bool) -> None:
    """Say everything that is wrong in search spaces, all at once."""
    from .space import problems

    found = {str(path): problems(path) for path in spaces}
    _show(found, as_json, "problems")
    if any(found.values()):
        raise click.exceptions.Exit(2)


@main.command()
@click.argument("name", required=False)
@options.as_json
def settings(name: str | None, as_json: bool) -> None:
    """Show the settings of a trial: all, or those whose name begins with NAME."""
    from . import overview

    _show(overview.settings(name), as_json, "settings")


@main.command()
@click.argument("space", type=click.Path(path_type=Path))
@click.option("--study", metavar="NAME", help="Name of the study [default: as the file says].")
@click.option("--trials", type=click.IntRange(min=1), help="How many configurations, in all.")
@click.option("--time-budget", type=options.Duration(), help="Start no trial after this long, e.g. 2h or 90m.")
@click.option("--profile", metavar="NAME", help="Profile of the file [default: by what this machine has].")
@click.option("--set", "overrides", type=options.Assignment(), multiple=True, help="Fix or change a setting.")
@click.option("--address", metavar="ADDRESS", envvar="RAY_ADDRESS", help="A Ray cluster [default: this machine].")
@click.option("--allow-space-change", is_flag=True, help="Go on with a study whose space was changed.")
@click.option("--dry-run", is_flag=True, help="Show what would be tried; start and write nothing.")
@click.option("--measure", is_flag=True, help="With --dry-run: train a few steps to say how long it takes.")
@options.home
@options.as_json
def launch(
    space: Path,
    study: str | None,
    trials: int | None,
    time_budget: float | None,
    profile: str | None,
    overrides: tuple[tuple[str, str], ...],
    address: str | None,
    allow_space_change: bool,
    dry_run: bool,
    measure: bool,
    home: str | None,
    as_json: bool,
) -> None:
    """Search SPACE, or go on with its search: the same command again does what is left."""
    from . import running
    from .space import load_space

    if measure and not dry_run:
        raise click.UsageError("--measure: goes with --dry-run; add that, or leave it out")
    where = Home.locate(home)
    loaded = load_space(
        space,
        profile=profile,
        overrides=dict(overrides),
        study=study,
        trials=trials,
        hours=time_budget,
        cluster=address is not None,
    )
    if dry_run:
        _show(running.dry_run(loaded, where, measure=measure), as_json, "dry_run")
        return
    found = running.launch(loaded, where, address=address, allow_space_change=allow_space_change, quiet=as_json)
    _show(found, as_json, "launched")
    if found["interrupted"]:
        raise click.exceptions.Exit(130)


@main.command()
@click.argument("space", type=click.Path(path_type=Path))
@click.option("--profile", metavar="NAME", help="Profile of the file [default: by what this machine has].")
@click.option("--set", "overrides", type=options.Assignment(), multiple=True, help="Fix or change a setting.")
@click.option("--samples", type=click.IntRange(min=1), default=5, show_default=True, help="Configurations to try.")
@options.home
@options.as_json
def probe(
    space: Path,
    profile: str | None,
    overrides: tuple[tuple[str, str], ...],
    samples: int,
    home: str | None,
    as_json: bool,
) -> None:
    """Measure how much of this machine's GPU a trial of SPACE needs."""
    from .probe import probe as measure
    from .space import load_space

    found = measure(load_space(space, profile=profile, overrides=dict(overrides)), Home.locate(home), samples)
    _show(found, as_json, "probe")
    if not found["fits"]:
        raise click.exceptions.Exit(1)


@main.command()
@click.argument("study", required=False)
@options.home
@options.as_json
def status(study: str | None, home: str | None, as_json: bool) -> None:
    """Show the progress of STUDY, or of every study."""
    from . import overview

    _show(overview.status(Home.locate(home), study), as_json, "status")


@main.command()
@click.argument("study")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: one row per trial and seed, every column.")
@options.home
@options.as_json
def trials(study: str, as_csv: bool, home: str | None, as_json: bool) -> None:
    """Show the trials of STUDY."""
    from . import overview

    found = overview.trials(Home.locate(home), study, criteria=as_csv or as_json)
    _show(found, as_json, "csv_rows" if as_csv else "trials")


@main.command()
@click.argument("study")
@options.home
def stop(study: str, home: str | None) -> None:
    """Let the running trials of STUDY end at their next report, and stop."""
    from . import running

    click.echo(running.stop(Home.locate(home), study))


@main.command()
@click.argument("studies", nargs=-1, required=True, metavar="STUDY…")
@options.home
@options.as_json
def criteria(studies: tuple[str, ...], home: str | None, as_json: bool) -> None:
    """Compare the label-free criteria with the labels of STUDY; of several, over them."""
    from . import overview
    from .console import busy

    names = list(dict.fromkeys(studies))
    with busy(f"judging every criterion in {', '.join(names)}"):
        found = overview.criteria(Home.locate(home), names)
    _show(found, as_json, "over_studies" if "over_studies" in found else "criteria")


@main.command()
@click.argument("study")
@click.option(
    "--by",
    default="auto",
    metavar="METHOD",
    help="A criterion, catalogue, borda, robust, kemeny, knee, criterion_graph or objective; by itself catalogue.",
)
@options.home
@options.as_json
def select(study: str, by: str, home: str | None, as_json: bool) -> None:
    """Choose the trial of STUDY to trust, without labels, and say why."""
    from . import overview
    from .console import busy

    with busy(f"comparing the models of {study}"):
        found = overview.choice(Home.locate(home), study, by)
    _show(found, as_json, "choice")


@main.command()
@click.argument("studies", nargs=-1, required=True, metavar="STUDY…")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="The file [default: STUDY.html; of several studies.html]."
)
@click.option("--tables", type=click.Path(path_type=Path), help="Write the tables for notebooks into this folder too.")
@options.home
def report(studies: tuple[str, ...], output: Path | None, tables: Path | None, home: str | None) -> None:
    """Write one HTML page about STUDY, or over several, that needs nothing else."""
    from . import report as page
    from .console import busy

    names = list(dict.fromkeys(studies))
    file = output or Path(f"{names[0] if len(names) == 1 else 'studies'}.html")
    with busy(f"judging every criterion in {', '.join(names)}"):
        said = page.write(Home.locate(home), names, file, tables)
    click.echo(said)


@main.command()
@click.argument("study")
@click.option("--trial", type=click.IntRange(min=0), help="This trial instead of the one that `select` chooses.")
@click.option("--by", default="auto", metavar="METHOD", help="How to select; see `select`.")
@click.option("--model", metavar="NAME", help="Name of the registered model [default: STUDY].")
@click.option("--alias", default="champion", show_default=True, help="The alias that moves to the new version.")
@click.option("--rollback", is_flag=True, help="Give the alias back to the version before.")
@click.option("--force", is_flag=True, help="Register although the gate is not met.")
@options.home
@options.as_json
def promote(
    study: str,
    trial: int | None,
    by: str,
    model: str | None,
    alias: str,
    rollback: bool,
    force: bool,
    home: str | None,
    as_json: bool,
) -> None:
    """Put the chosen model of STUDY into the model registry."""
    from . import promotion

    where = Home.locate(home)
    if rollback:
        _show(promotion.rollback(where, model or study, alias), as_json, "promoted")
        return
    done = promotion.promote(where, study, trial=trial, by=by, model=model or study, alias=alias, force=force)
    _show(done, as_json, "promoted")


@main.command()
@click.argument("model")
@click.argument("files", nargs=-1, required=True, metavar="FILE…", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), default="decomposed", show_default=True)
@options.home
@options.as_json
def decompose(model: str, files: tuple[Path, ...], output: Path, home: str | None, as_json: bool) -> None:
    """Find the objects in images (or point clouds) with MODEL: models:/NAME@ALIAS, or the folder of a checkpoint."""
    from .decompose import decompose as run

    _show(run(model, list(files), output, Home.locate(home)), as_json, "decomposed")


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True)
@options.home
def ui(port: int, home: str | None) -> None:
    """Browse every trial in the MLflow UI."""
    from .ui import serve

    serve(Home.locate(home), port)


@main.group()
def data() -> None:
    """Data sets: what is there, making them ready, looking at them."""


@data.command("list")
@options.home
@options.as_json
def data_list(home: str | None, as_json: bool) -> None:
    """List the data sets."""
    from . import data as sets

    _show(sets.available(Home.locate(home)), as_json, "rows")


@data.command("prepare")
@click.argument("name")
@click.option("--from", "source", required=True, type=click.Path(path_type=Path), help="The original files.")
@options.home
@options.as_json
def data_prepare(name: str, source: Path, home: str | None, as_json: bool) -> None:
    """Convert the original files of data set NAME into the home."""
    from . import data as sets

    _show([sets.prepare(Home.locate(home), name, source)], as_json, "rows")


@data.command("show")
@click.argument("name")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The picture [default: NAME.png].")
@options.home
def data_show(name: str, output: Path | None, home: str | None) -> None:
    """Draw a contact sheet of data set NAME."""
    from . import data as sets

    click.echo(sets.show(Home.locate(home), name, output or Path(f"{name}.png")))


@main.command()
@click.argument("study", required=False)
@options.home
@options.as_json
def doctor(study: str | None, home: str | None, as_json: bool) -> None:
    """Check this machine and the stores; for STUDY, that all its books agree."""
    from . import doctor as examination

    found = examination.examine(Home.locate(home), study)
    _show(found, as_json, "examined")
    if not found["healthy"]:
        raise click.exceptions.Exit(1)
