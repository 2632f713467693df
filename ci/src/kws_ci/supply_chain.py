"""What a release carries beside its image: one reproducible form, labels, materials, audit, provenance."""

from datetime import date

import dagger
from dagger import ImageLayerCompression, ReturnType, dag

from . import image
from .environment import APP, Environment
from .stages import toolbox

SEALED = "/sealed/image.tar"
# What tools/registry imports of its neighbours.
REGISTRY_IMPORTS = ["audit.py", "doctor.py", "github.py", "oci.py"]
# The names of the files attached to an image, by kind; tools/registry/attachments.py knows the same.
FILES = {
    "sbom": "sbom.cdx.json",
    "evaluation": "evaluation.json",
    "model": "model.onnx",
    "figures": "figures.json",
}


def model_labels(environment: Environment, tools: dagger.Directory, model: dagger.File) -> dagger.File:
    """Labels of the model's digest and version and of its data's digest, as JSON."""
    return (
        environment.with_groups("service", bytecode=True)
        .with_directory(f"{APP}/tools", tools, include=["__init__.py", "oci.py", "labels.py"])
        .with_mounted_file("/model.onnx", model)
        .with_exec(["python", "-m", "tools.labels", "/model.onnx", "--output", "/labels.json"])
        .file("/labels.json")
    )


def seal(
    environment: Environment,
    tools: dagger.Directory,
    images: list[dagger.Container],
    labels: dict[str, str],
    more_labels: dagger.File,
    created: str,
) -> dagger.File:
    """The OCI archive of the images, one a platform, equal for equal content whatever the engine's cache holds.

    The engine itself writes the build's time into an image and packs a base image's layers anew after a restart.
    """
    container = (
        toolbox(environment, tools.filter(include=["__init__.py", "oci.py", "seal.py"]))
        .with_mounted_cache("/var/cache/sealed", dag.cache_volume("kws-sealed-layers"))
        .with_mounted_file("/labels.json", more_labels)
    )
    archives = []
    for number, built in enumerate(images):
        archives.append(f"/images/{number}.tar")
        # Uncompressed: the layers are packed in their final form, once.
        exported = built.as_tarball(forced_compression=ImageLayerCompression.Uncompressed)
        container = container.with_mounted_file(archives[-1], exported)
    command = ["python", "-m", "tools.seal", *archives, "--own", *image.LAYERS, f"--created={created}"]
    command += [f"--label={name}={value}" for name, value in sorted(labels.items()) if value]
    command += ["--labels=/labels.json", "--cache=/var/cache/sealed", "--output", SEALED]
    return container.with_exec(command).file(SEALED)


def materials(
    environment: Environment,
    tools: dagger.Directory,
    python: dagger.File,
    built: dagger.Container,
    labels: dagger.File,
) -> dagger.Directory:
    """``sbom.cdx.json`` of everything inside the image (Python, Debian, model and data), and ``licences.tsv``."""
    options = ["--labels=/labels.json", "--output=/materials"]
    inside = ["var/lib/dpkg/**", "usr/share/doc/*/copyright", "etc/os-release", "usr/lib/os-release"]
    return (
        toolbox(environment, tools.filter(include=["__init__.py", "sbom.py"]))
        .with_directory("/image", built.rootfs(), include=inside)
        .with_mounted_file("/python.cdx.json", python)
        .with_mounted_file("/labels.json", labels)
        .with_exec(["python", "-m", "tools.sbom", "/python.cdx.json", "--root=/image", *options])
        .directory("/materials")
    )


def audit(
    environment: Environment, tools: dagger.Directory, sbom: dagger.File, allowed: dagger.File, source: str, *more: str
) -> dagger.Container:
    """``/audit.json``: the known vulnerabilities of what the SBOM lists; asked anew each day."""
    command = ["python", "-m", "tools.audit", "/sbom.cdx.json", "--allow=/audit.toml", f"--source={source}"]
    return (
        toolbox(environment, tools.filter(include=["__init__.py", "audit.py"]))
        .with_env_variable("KWS_DAY", date.today().isoformat())
        .with_mounted_file("/sbom.cdx.json", sbom)
        .with_mounted_file("/audit.toml", allowed)
        .with_exec([*command, "--output=/audit.json", *more], expect=ReturnType.ANY)
    )


def release_tools(base: dagger.Container, debian_mirror: str, tools: dagger.Directory) -> dagger.Container:
    """A container that runs ``python -m tools.registry``: cosign, oras and skopeo are Debian's (13 or newer)."""
    packages = "apt-get update -qq && apt-get install -qq --yes --no-install-recommends cosign oras skopeo"
    container = base
    if debian_mirror:
        moved = f"s|http://deb.debian.org|{debian_mirror.rstrip('/')}|"
        container = container.with_exec(["sed", "-i", moved, "/etc/apt/sources.list.d/debian.sources"])
    return (
        container.with_exec(["sh", "-c", packages])
        .with_workdir(APP)
        .with_directory(f"{APP}/tools", tools, include=["__init__.py", *REGISTRY_IMPORTS, "registry"])
    )


def provenance(
    environment: Environment,
    tools: dagger.Directory,
    archive: dagger.File,
    address: str,
    builder: str,
    invocation: str,
    parameters: dict[str, str],
    byproducts: dict[str, dagger.File],
) -> dagger.File:
    """SLSA v1: builder, commit, parameters, inputs by digest, and the digest of what is attached beside the image."""
    output = "/provenance.json"
    command = ["python", "-m", "tools.provenance", SEALED, f"--address={address}", f"--builder={builder}"]
    command += [f"--invocation={invocation}", "--material=uv.lock=/lock/uv.lock", f"--output={output}"]
    command += [f"--parameter={name}={value}" for name, value in sorted(parameters.items()) if value]
    container = (
        toolbox(environment, tools.filter(include=["__init__.py", "oci.py", "provenance.py"]))
        .with_mounted_file(SEALED, archive)
        .with_mounted_directory("/lock", environment.lock)
    )
    for name, file in byproducts.items():
        container = container.with_mounted_file(f"/byproducts/{name}", file)
        command.append(f"--byproduct={name}=/byproducts/{name}")
    return container.with_exec(command).file(output)


def attached(container: dagger.Container, files: dict[str, dagger.File]) -> tuple[dagger.Container, list[str]]:
    """The container with files to attach, by kind, and the options of ``tools.registry`` for them."""
    options = []
    for kind, file in files.items():
        container = container.with_mounted_file(f"/attach/{kind}", file)
        options.append(f"--attach={kind}=/attach/{kind}")
    return container, options
