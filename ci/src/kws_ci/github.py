"""What the pipeline tells GitHub; the token is a secret in the environment of one command."""

import dagger
from dagger import dag

from . import stages
from .environment import Environment
from .errors import said

GITHUB_API = "https://api.github.com"


async def comment(
    environment: Environment,
    tools: dagger.Directory,
    artifacts: dagger.Directory,
    repository: str,
    api: str,
    token: dagger.Secret,
    number: int,
) -> str:
    """The report as the one comment on pull request ``number``; its address."""
    report = "/report.md"
    container = _speaker(environment, tools, token).with_mounted_file(report, artifacts.file("report.md"))
    command = [*_command(repository, api), "comment", f"--number={number}", f"--report={report}"]
    return await said(container.with_exec(command))


async def release(
    environment: Environment,
    tools: dagger.Directory,
    artifacts: dagger.Directory,
    repository: str,
    api: str,
    token: dagger.Secret,
    tag: str,
    changelog: dagger.File,
) -> str:
    """The release of ``tag`` with the model, its evaluation, the SBOM and the verdict; its address."""
    files = {
        "model.onnx": "model/model.onnx",
        "evaluation.json": "model/evaluation.json",
        "sbom.cdx.json": "image/sbom.cdx.json",
        "image.json": "image/image.json",
        "gates.json": "gates.json",
        "report.md": "report.md",
    }
    attached = dag.directory()
    for name, path in files.items():
        attached = attached.with_file(name, artifacts.file(path))
    container = (
        _speaker(environment, tools, token)
        .with_mounted_directory("/files", attached)
        .with_mounted_file("/CHANGELOG.md", changelog)
    )
    paths = [f"/files/{name}" for name in files]
    command = [*_command(repository, api), "release", f"--tag={tag}", "--changelog=/CHANGELOG.md", *paths]
    return await said(container.with_exec(command))


def _speaker(environment: Environment, tools: dagger.Directory, token: dagger.Secret) -> dagger.Container:
    return stages.toolbox(environment, tools).with_secret_variable("GITHUB_TOKEN", token)


def _command(repository: str, api: str) -> list[str]:
    return ["python", "-m", "tools.github", f"--repository={repository}", f"--api={api}"]
