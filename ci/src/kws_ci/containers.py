"""Containers from the base image that `Settings` names, with a stage's locked dependencies or a release's tools."""

from collections.abc import Mapping
from typing import Any

import dagger
from dagger import dag

from .settings import Settings
from .steps import UserError

VENV, APP, ARTIFACTS = "/opt/venv", "/app", "/artifacts"
# The image of each tool, which the update bot moves, and the file in it: that alone is taken, so that one container
# holds several and no entrypoint is in the way.
TOOLS = {
    "regctl": "ghcr.io/regclient/regctl:v0.11.5@sha256:dbe356c6cf9f8f85e302b9e47fed481ef3f1b04807350e99b02ab2cadee0a993",  # noqa: E501
    "syft": "anchore/syft:v1.54.0@sha256:0356562f495d432056237fbea5cbc2d4839c9c75cd500784a66de2e7cc95ca7c",
    "osv-scanner": "ghcr.io/google/osv-scanner:v2.6.0@sha256:afd838850ac1a0fcc15ff4a041dc9ba11123c3f0d2666217a5f0fcf9222b55fa",  # noqa: E501
    "cosign": "ghcr.io/sigstore/cosign/cosign:v3.1.3@sha256:9e5c2f2edc34351160407ca3416c61855bdf9403c3c5936e0f0be7fc261611b8",  # noqa: E501
    "actionlint": "rhysd/actionlint:1.7.12@sha256:b1934ee5f1c509618f2508e6eb47ee0d3520686341fec936f3b79331f9315667",
}
BINARIES = {"cosign": "/ko-app/cosign", "actionlint": "/usr/local/bin/actionlint"}  # the others: /NAME
Files = Mapping[str, Any]  # files and folders by the path at which each is mounted


class Toolbox(Settings):
    """The constructor's arguments, and the containers that are made of them, each thing from the mirror they name."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.images = dict(TOOLS)
        for item in self.tool_images or []:
            name, _, address = item.partition("=")
            if name not in TOOLS or not address:
                raise UserError(f"--tool-images: {item!r} is not NAME=ADDRESS with a name of {', '.join(TOOLS)}")
            self.images[name] = address

    def base(self, platform: str = "") -> dagger.Container:
        """The base image, of the engine's platform or of another."""
        return dag.container(platform=dagger.Platform(platform) if platform else None).from_(self.base_image)

    def installed(self, group: str, *, bytecode: bool = False, platform: str = "") -> dagger.Container:
        """The base image with a dependency group of the lock in ``VENV``; of another platform nothing is run."""
        variables = {
            "PYTHONUNBUFFERED": "1",
            "KWS_PACKAGE_INDEX": self.package_index,
            "KWS_TORCH_INDEX": self.torch_index,
            "UV_LINK_MODE": "copy",
        }
        # By a hash in place of the time, so that equal content makes equal files.
        variables |= {"UV_COMPILE_BYTECODE": "1", "PYC_INVALIDATION_MODE": "CHECKED_HASH"} if bytecode else {}
        container = self.base().with_mounted_cache("/root/.cache/uv", dag.cache_volume("kws-uv"))
        for name, value in variables.items():
            container = container.with_env_variable(name, value)
        command = ["python", "tools/install.py", "--venv", VENV, *([f"--platform={platform}"] if platform else [])]
        container = container.with_directory(APP, self.dependencies).with_workdir(APP).with_exec([*command, group])
        return container.with_env_variable("PATH", f"{VENV}/bin:$PATH", expand=True)

    def stage(self, group: str, **code: dagger.Directory) -> dagger.Container:
        """A stage's dependencies and packages."""
        container = self.installed(group)
        for name, source in code.items():
            container = container.with_directory(f"{APP}/{name}", source)
        return container

    def with_tools(self, container: dagger.Container, *names: str) -> dagger.Container:
        """The container with tools on its PATH."""
        for name in names:
            binary = dag.container().from_(self.images[name]).file(BINARIES.get(name, f"/{name}"))
            container = container.with_file(f"/usr/local/bin/{name}", binary, permissions=0o755)
        return container

    def programs(self, *tools: str) -> dagger.Container:
        """A container that runs ``python -m release``, with the tools that are named."""
        return self.with_tools(self.stage("release", release=self.release_source), *tools)

    def release(self, command: list[str], files: Files, *on: dagger.Container, **execution: Any) -> dagger.Container:
        """``python -m release`` with files and folders mounted where the command names them, on a container."""
        container = mounted(on[0] if on else self.programs(), files)
        return container.with_exec(["python", "-m", "release", *command], **execution)


def mounted(container: dagger.Container, files: Files) -> dagger.Container:
    """The container with files and folders."""
    for path, source in files.items():
        mount = container.with_mounted_file if isinstance(source, dagger.File) else container.with_mounted_directory
        container = mount(path, source)
    return container
