"""Containers with Python and the locked dependencies of one stage."""

from dataclasses import dataclass

import dagger
from dagger import dag

VENV = "/opt/venv"
APP = "/app"


@dataclass(frozen=True)
class Environment:
    """Where Python and its packages come from; a mirror replaces each of the three."""

    base_image: str
    package_index: str
    torch_index: str
    lock: dagger.Directory

    def base(self, platform: str = "") -> dagger.Container:
        """The base image as it is, of the engine's platform or of another."""
        return dag.container(platform=dagger.Platform(platform) if platform else None).from_(self.base_image)

    def python(self, platform: str = "") -> dagger.Container:
        """The base image alone."""
        return self.base(platform).with_env_variable("PYTHONUNBUFFERED", "1")

    def with_groups(
        self, *groups: str, venv: str = VENV, bytecode: bool = False, platform: str = ""
    ) -> dagger.Container:
        """The base image with dependency groups of the lock installed into ``venv``, which leads the PATH.

        Only the lock, ``pyproject.toml`` and the installer go in: an edit of code never installs again.
        ``bytecode`` compiles what is installed, hash-checked so that the files do not depend on the time.
        ``platform`` unpacks another platform's wheels, on the engine's own: nothing foreign is run.
        """
        container = (
            self.python()
            .with_env_variable("KWS_PACKAGE_INDEX", self.package_index)
            .with_env_variable("KWS_TORCH_INDEX", self.torch_index)
            .with_env_variable("UV_LINK_MODE", "copy")
            .with_mounted_cache("/root/.cache/uv", dag.cache_volume("kws-uv"))
        )
        if bytecode:
            container = container.with_env_variable("UV_COMPILE_BYTECODE", "1").with_env_variable(
                "PYC_INVALIDATION_MODE", "CHECKED_HASH"
            )
        options = [f"--platform={platform}"] if platform else []
        return (
            container.with_directory(APP, self.lock)
            .with_workdir(APP)
            .with_exec(["python", "tools/install.py", "--venv", venv, *options, *groups])
            .with_env_variable("PATH", f"{venv}/bin:$PATH", expand=True)
        )
