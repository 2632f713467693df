"""The inference image: a builder installs, the runtime stage holds only what answers requests."""

from dataclasses import dataclass

import dagger

from .environment import APP, VENV, Environment
from .stages import SERVICE_PORT

# Numeric, so that Kubernetes' runAsNonRoot can be checked without a passwd entry.
USER = "10001:10001"
# The layers over the base image, bottom first: a retraining changes the last alone.
LAYERS = ["dependencies", "service", "model"]


@dataclass(frozen=True)
class Origin:
    """What the image's OCI labels say of where it comes from; empty values are left out."""

    repository: str = ""
    revision: str = ""
    version: str = ""

    def labels(self) -> dict[str, str]:
        labels = {
            "org.opencontainers.image.title": "kws",
            "org.opencontainers.image.description": "Audio keyword classifier: POST a recording to /predict",
            "org.opencontainers.image.licenses": "MIT",
            "org.opencontainers.image.source": self.repository,
            "org.opencontainers.image.revision": self.revision,
            "org.opencontainers.image.version": self.version,
        }
        return {name: value for name, value in labels.items() if value}


def packages(environment: Environment, platform: str = "") -> dagger.Directory:
    """The virtual environment that answers requests, from the builder, without what inference never touches."""
    installed = environment.with_groups("service", bytecode=True, platform=platform)
    return installed.with_exec(["python", "tools/trim.py", VENV]).directory(VENV)


def build(
    environment: Environment,
    service_source: dagger.Directory,
    model: dagger.File,
    origin: Origin,
    platform: str = "",
) -> dagger.Container:
    """Layers from the one that changes least: base, and of our own those of ``LAYERS``.

    ``platform`` names another than the engine's own: its files are put together, none of them is run.
    """
    container = (
        environment.python(platform)
        .with_env_variable("PATH", f"{VENV}/bin:$PATH", expand=True)
        .with_env_variable("KWS_MODEL", f"{APP}/model.onnx")
        .with_env_variable("KWS_HOST", "0.0.0.0")  # noqa: S104 (inside its container)
        .with_env_variable("KWS_PORT", str(SERVICE_PORT))
        .with_workdir(APP)
        .with_directory(VENV, packages(environment, platform))
        .with_directory(f"{APP}/service", service_source)
        .with_file(f"{APP}/model.onnx", model, permissions=0o444)
        .with_user(USER)
        .with_exposed_port(SERVICE_PORT)
        .with_docker_healthcheck(
            ["python", "-m", "service.healthcheck"],
            interval="10s",
            timeout="3s",
            start_period="20s",
            start_interval="1s",
            retries=3,
        )
        .with_entrypoint(["gunicorn", "--config", "service/gunicorn.conf.py", "service.app:create_app()"])
        .with_default_args([])
    )
    for name, value in origin.labels().items():
        container = container.with_label(name, value)
    return container
