"""``config.json``: all that a run was told and what it met, so that ``train --config`` repeats it.

::

    options     as on the command line; what is given there or in the environment goes before
    settings    every number of the recipe, also those without an option of their own
    data_digest, versions, revision, processes
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import typer

from model import console
from model.errors import UserError
from model.settings import Settings

_META = "model.config"
_DATA = ("dataset", "dataset_url", "dataset_sha256", "synthetic_size", "synthetic_seed")
_ORIGIN = ("licence", "attribution")
_NOT_RECIPE = ("labels", "only_keywords", "unseen_words", "profile", "seed", "threads")


@dataclass(frozen=True)
class Former:
    """A former run's ``config.json``."""

    path: Path
    options: dict[str, Any]
    settings: dict[str, Any]
    data_digest: str
    versions: dict[str, str]


def read(path: Path) -> Former:
    """Read a file that a former run wrote.

    Raises:
        UserError: it is not there, or no such file, or of a version that knows other settings.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        former = Former(path, *(content[name] for name in ("options", "settings", "data_digest", "versions")))
        unknown = sorted(set(former.settings) - {field.name for field in fields(Settings)})
        options = {name: value for name, value in former.options.items() if value is not None}
    except OSError as error:
        raise UserError(f"--config '{path}' cannot be read ({error.strerror}); give a run's config.json") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"--config '{path}' is no config.json of a run; give one that train wrote") from error
    if unknown:
        raise UserError(f"--config '{path}' has settings that this version does not know: {', '.join(unknown)}")
    return Former(path, options, former.settings, former.data_digest, former.versions)


def use(context: typer.Context, path: Path | None) -> Path | None:
    """Callback of ``--config``: what the file says becomes the default of the other options."""
    if path is not None:
        former = read(path)
        context.default_map = {**(context.default_map or {}), **former.options}
        context.meta[_META] = former
    return path


def merged(context: typer.Context, chosen: dict[str, Any]) -> dict[str, Any]:
    """The settings that were chosen by options (None: not), with those of a former run that have no option.

    A profile that is named beside ``--config`` takes the place of the former run's whole recipe.
    """
    former: Former | None = context.meta.get(_META)
    if former is None:
        return chosen
    if _given(context, "profile"):
        return {name: value if name in _NOT_RECIPE or _given(context, name) else None for name, value in chosen.items()}
    without_option = former.settings.keys() - chosen.keys() - {"profile"}
    return {**{name: former.settings[name] for name in without_option}, **chosen}


def data_options(context: typer.Context) -> dict[str, Any]:
    """The options that say where the data come from, by name; a path as the user gave it."""
    return {name: context.params[name] for name in (*_DATA, *_ORIGIN)}


def check_data(context: typer.Context, digest: str) -> None:
    """See that the data are those of the former run, if it is repeated with its own data set.

    Raises:
        UserError: they are not.
    """
    former: Former | None = context.meta.get(_META)
    if former is None or any(_given(context, name) for name in (*_DATA, "labels", "only_keywords")):
        return
    if digest != former.data_digest:
        raise UserError(
            f"the data set has the digest {digest}, but that of '{former.path}' is {former.data_digest}; "
            "restore its data, or give --dataset to train on others"
        )


def warn_of_versions(context: typer.Context, versions: dict[str, str]) -> None:
    """Say which packages differ from the former run's: the weights may, too."""
    former: Former | None = context.meta.get(_META)
    for name, version in versions.items() if former else ():
        if former and former.versions.get(name) != version:
            console.log.warning(
                "%s is %s here and was %s: the weights may differ", name, version, former.versions.get(name)
            )


def content(
    options: dict[str, Any],
    settings: Settings,
    data_digest: str,
    versions: dict[str, str],
    revision: str,
    processes: int,
) -> dict[str, Any]:
    """The content of ``config.json``; ``options`` are those that are no settings."""
    values = settings.to_dict()
    unseen = values["unseen_words"]
    told = {
        **values,
        "labels": ",".join(values["labels"]),
        "unseen_words": "" if unseen is None else ",".join(unseen) or "none",
    }
    return {
        "options": {**options, **told},
        "settings": values,
        "data_digest": data_digest,
        "versions": versions,
        "revision": revision,
        "processes": processes,
    }


def _given(context: typer.Context, name: str) -> bool:
    """Whether the user gave an option now, on the command line or in the environment."""
    source = context.get_parameter_source(name)
    return source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT")
