"""What the last release measured, read back to compare with."""

import json

import dagger
from dagger import dag

from .errors import said
from .registry import Registry
from .stages import ARTIFACTS
from .supply_chain import FILES

# The pipeline's own figures tell more than the evaluation of the model, which older releases have alone.
KINDS = ["figures", "evaluation"]


async def read_back(target: Registry, tools: dagger.Container) -> dagger.File | str:
    """What is attached to the image under ``latest``; where there is nothing, why, in a line.

    Raises ProgramError where the registry does not answer or refuses the credentials.
    """
    folder = "/last"
    asked = target.run(
        tools.with_directory(folder, dag.directory()),
        *("fetch", "latest", "--optional", "--output", folder, "--kinds", *KINDS),
    )
    words = await said(asked)
    found = await asked.directory(folder).entries()
    for name in (FILES[kind] for kind in KINDS):
        if name in found:
            # By its content: asking anew must not judge anew.
            return dag.directory().with_new_file(name, await asked.file(f"{folder}/{name}").contents()).file(name)
    return words


async def figures(judged: dagger.Container) -> dagger.File:
    """The figures of a verdict, without the release that it was compared with: for the next one to compare with."""
    verdict = json.loads(await judged.file(f"{ARTIFACTS}/gates.json").contents())
    name = FILES["figures"]
    content = json.dumps({"figures": verdict["figures"]}, indent=2) + "\n"
    return dag.directory().with_new_file(name, content).file(name)
