"""Whether the engine, and what the pipeline needs from outside, are as they should be, seen from the containers."""

import json
import re
import uuid

import dagger
from dagger import dag

from . import stages
from .concurrency import together
from .environment import Environment
from .errors import ProgramError
from .registry import Registry

FAILED = "FAILED"


async def examine(
    environment: Environment,
    tools: dagger.Directory,
    project: dagger.File,
    addresses: dict[str, str],
    target: Registry | None,
) -> str:
    """A line for each check. Raises ProgramError with all lines where one that is needed failed.

    ``project`` is ``dagger.json``, ``addresses`` are the options of ``tools.doctor``.
    """
    engine, base = await together(_engine(project), _base(environment))
    lines = [engine, base]
    if base.startswith(FAILED):
        lines.append(_line("skipped", "all else", "it is looked for from the base image"))
    else:
        # Never from the cache: yesterday's answer is none.
        box = stages.toolbox(environment, tools).with_env_variable("KWS_RUN", uuid.uuid4().hex)
        command = ["python", "-m", "tools.doctor", *(f"--{name}={value}" for name, value in addresses.items() if value)]
        asked = box.with_exec([*command, *(["--publishing"] if target else [])])
        found, registry = await together(_lines("network", asked), _registry(box, target))
        lines += [*found, *registry]
    text = "\n".join(lines)
    if failed := [line.split(maxsplit=1)[1].partition(":")[0] for line in lines if line.startswith(FAILED)]:
        raise ProgramError(f"failed: {', '.join(failed)}\n{text}")
    return text


async def _engine(project: dagger.File) -> str:
    version, platform, contents = await together(dag.version(), dag.default_platform(), project.contents())
    asked = json.loads(contents)["engineVersion"]
    said = f"{version}, {platform}"
    if _numbers(version) == _numbers(asked):
        return _line("ok", "engine", said)
    remedy = f"dagger.json asks for {asked}: install the command line and the engine of that version"
    return _line("warning" if _numbers(version) > _numbers(asked) else FAILED, "engine", f"{said}; {remedy}")


async def _base(environment: Environment) -> str:
    try:
        return _line("ok", "base image", await environment.base().image_ref())
    except dagger.QueryError as error:
        remedy = "--base-image names another, the engine's settings a mirror of docker.io (docs/offline.md)"
        return _line(FAILED, "base image", f"{environment.base_image}: {_last(str(error))}; {remedy}")


async def _registry(box: dagger.Container, target: Registry | None) -> list[str]:
    if target is None:
        return [_line("skipped", "registry", "no --address")]
    return await _lines("registry", target.run(box, "doctor"))


async def _lines(name: str, container: dagger.Container) -> list[str]:
    """What a program found; where it could not look, why."""
    try:
        return (await container.stdout()).splitlines()
    except dagger.ExecError as error:
        found = error.stdout.splitlines()
        return found if any(line.startswith(FAILED) for line in found) else [_line(FAILED, name, _last(error.stderr))]
    except dagger.QueryError as error:
        return [_line(FAILED, name, _last(str(error)))]


def _line(state: str, name: str, text: str) -> str:
    return f"{state:<8} {name}: {text}"


def _last(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version.partition("-")[0])]
