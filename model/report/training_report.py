"""``report.md``: what a model was trained on, what it can do, where it fails; computed in ``model/evaluation/``."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

MOST_MISTAKES = 15  # rows of a list of examples


def render(evaluation: dict[str, Any], metrics: dict[str, Any] | None, plots: dict[str, str]) -> str:
    """The report as Markdown, of the arguments of ``report.write`` and of ``plots``, name -> title of each picture."""
    clips = evaluation["clips"] if metrics else {"testing": evaluation["clips"]["testing"]}
    told = {**evaluation, "clips": clips, "metrics": metrics, "plots": plots, "most": MOST_MISTAKES}
    return template("training_report.md.j2").render(told)


def template(name: str) -> Template:
    """A template of this package, with the filters that they use; a name that is not there is an error."""
    blocks: dict[str, Any] = dict.fromkeys(("trim_blocks", "lstrip_blocks", "keep_trailing_newline"), True)
    found = Environment(loader=PackageLoader("model.report"), undefined=StrictUndefined, **blocks)  # noqa: S701 - no HTML
    found.filters.update(percent=percent, share=share, interval=interval, cell=cell)
    return found.get_template(name)


def percent(part: float) -> str:
    """``0.96531`` -> ``96.5 %``."""
    return f"{100 * part:.1f} %"


def interval(bounds: list[float]) -> str:
    """``[0.912, 0.981]`` -> ``91.2 to 98.1 %``."""
    return f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f} %"


def share(found: dict[str, Any]) -> str:
    """A share with its interval and its number of clips: three cells of a table."""
    return f"{percent(found['share'])} | {interval(found['interval_95'])} | {found['clips']}"


def cell(text: Any) -> str:
    """Text that stands in one cell of a table, whatever is in it: names of files may hold anything."""
    plain = ", ".join(map(str, text)) if isinstance(text, list | tuple) else str(text)
    return plain.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("\r", " ").replace("<", "&lt;")
