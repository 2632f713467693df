"""The base image, and containers with the locked dependencies of a stage or with the tools of a release."""

from collections.abc import Mapping
from typing import Any

import dagger
from dagger import ReturnType, dag

from .settings import Settings
from .steps import UserError

VENV, APP, ARTIFACTS = "/opt/venv", "/app", "/artifacts"
# Image and file of each tool: the file alone is taken, so that one container holds several and no entrypoint is in
# the way. The update bot moves them and adds their digests.
TOOLS = {
    "regctl": ("ghcr.io/regclient/regctl:v0.11.7", "/regctl"),
    "syft": ("anchore/syft:v1.57.1", "/syft"),
    "osv-scanner": ("ghcr.io/google/osv-scanner:v2.6.0", "/osv-scanner"),
    "cosign": ("ghcr.io/sigstore/cosign/cosign:v3.1.3", "/ko-app/cosign"),
    "actionlint": ("rhysd/actionlint:1.7.12", "/usr/local/bin/actionlint"),
}


class Toolbox:
    """Makes containers, each thing from the mirror that the constructor names.

    Raises:
        UserError: an image for a tool that is not used.
    """

    def __init__(self, kws: Settings) -> None:
        self.kws = kws
        self.images = {name: address for name, (address, _) in TOOLS.items()}
        for item in kws.tool_images or []:
            name, _, address = item.partition("=")
            if name not in TOOLS or not address:
                raise UserError(f"--tool-images: {item!r} is not NAME=ADDRESS with a name of {', '.join(TOOLS)}")
            self.images[name] = address

    def base(self, platform: str = "") -> dagger.Container:
        """The base image, of the engine's platform or of another."""
        container = dag.container(platform=dagger.Platform(platform) if platform else None)
        return container.from_(self.kws.base_image)

    def installed(self, group: str, *, bytecode: bool = False, platform: str = "") -> dagger.Container:
        """The base image with a dependency group of the lock in ``VENV``, which leads the PATH.

        Only the lock and the installer go in: an edit of code never installs again. ``bytecode`` compiles what is
        installed, hash-checked so that the files do not depend on the time. ``platform`` unpacks another platform's
        wheels, on the engine's own: nothing foreign is run.
        """
        variables = {
            "PYTHONUNBUFFERED": "1",
            "KWS_PACKAGE_INDEX": self.kws.package_index,
            "KWS_TORCH_INDEX": self.kws.torch_index,
            "UV_LINK_MODE": "copy",
            **({"UV_COMPILE_BYTECODE": "1", "PYC_INVALIDATION_MODE": "CHECKED_HASH"} if bytecode else {}),
        }
        container = self.base().with_mounted_cache("/root/.cache/uv", dag.cache_volume("kws-uv"))
        for name, value in variables.items():
            container = container.with_env_variable(name, value)
        options = [f"--platform={platform}"] if platform else []
        return (
            container.with_directory(APP, self.kws.dependencies)
            .with_workdir(APP)
            .with_exec(["python", "tools/install.py", "--venv", VENV, *options, group])
            .with_env_variable("PATH", f"{VENV}/bin:$PATH", expand=True)
        )

    def stage(self, group: str, **code: dagger.Directory) -> dagger.Container:
        """A stage's dependencies, ``kws`` and the stage's own packages."""
        container = self.installed(group).with_directory(f"{APP}/kws", self.kws.kws_source)
        for name, source in code.items():
            container = container.with_directory(f"{APP}/{name}", source)
        return container

    def with_tools(self, container: dagger.Container, *names: str) -> dagger.Container:
        """The container with tools on its PATH."""
        for name in names:
            binary = dag.container().from_(self.images[name]).file(TOOLS[name][1])
            container = container.with_file(f"/usr/local/bin/{name}", binary, permissions=0o755)
        return container

    def programs(self, *tools: str) -> dagger.Container:
        """A container that runs ``python -m release``, with the tools that are named."""
        container = self.installed("release").with_directory(f"{APP}/release", self.kws.release_source)
        return self.with_tools(container, *tools)

    def release(
        self,
        command: list[str],
        files: Mapping[str, Any],
        container: dagger.Container | None = None,
        expect: ReturnType = ReturnType.SUCCESS,
    ) -> dagger.Container:
        """``python -m release`` with files and folders (by path) mounted where the command names them."""
        container = container or self.programs()
        for path, source in files.items():
            mount = container.with_mounted_file if isinstance(source, dagger.File) else container.with_mounted_directory
            container = mount(path, source)
        return container.with_exec(["python", "-m", "release", *command], expect=expect)
