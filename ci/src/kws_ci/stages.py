"""The stages as container steps: each runs one program of the application, files in, files out."""

import dagger
from dagger import ReturnType, dag

from .environment import APP, VENV, Environment

ARTIFACTS = "/artifacts"
MODEL = f"{ARTIFACTS}/model"
GATES = "/gates.toml"
SERVICE_PORT = 8000
# What the report needs of the trainer: it runs without torch.
REPORT_SOURCES = ["__init__.py", "markdown.py"]


def trainer(environment: Environment, model_source: dagger.Directory) -> dagger.Container:
    """A container that runs ``python -m model``."""
    return environment.with_groups("model").with_directory(f"{APP}/model", model_source)


def dataset_from_archive(trainer: dagger.Container, archive: dagger.File, options: list[str]) -> dagger.Directory:
    """Unpack an archive in the Speech Commands layout, every word of it: the other ones are the model's `_unknown_`."""
    mounted = trainer.with_mounted_file("/data/archive.tar.gz", archive)
    return _dataset(mounted, "/data/archive.tar.gz", [*options, "--other-words", "all"])


def dataset_synthetic(trainer: dagger.Container, options: list[str]) -> dagger.Directory:
    """Speak the synthetic corpus."""
    return _dataset(trainer, "synthetic", options)


def _dataset(trainer: dagger.Container, name: str, options: list[str]) -> dagger.Directory:
    command = ["python", "-m", "model", "data", "--dataset", name, "--output", "/data/set", *options]
    return trainer.with_exec(command).directory("/data/set")


def training(
    trainer: dagger.Container,
    dataset: dagger.Directory,
    options: list[str],
    expect: ReturnType = ReturnType.SUCCESS,
) -> dagger.Container:
    """A training; what it makes stands in ``MODEL``."""
    command = ["python", "-m", "model", "train", "--dataset", "/data/set", "--output", MODEL, *options]
    return trainer.with_mounted_directory("/data/set", dataset).with_exec(command, expect=expect)


def train(trainer: dagger.Container, dataset: dagger.Directory, options: list[str]) -> dagger.Directory:
    """The ``model/`` part of the artefacts."""
    return training(trainer, dataset, options).directory(MODEL)


def clips(trainer: dagger.Container, dataset: dagger.Directory, options: list[str]) -> dagger.Directory:
    """A few labelled recordings of the test split, a folder a label."""
    command = ["python", "-m", "model", "clips", "--dataset", "/data/set", "--output", "/clips", *options]
    return trainer.with_mounted_directory("/data/set", dataset).with_exec(command).directory("/clips")


def prober(environment: Environment, service_source: dagger.Directory) -> dagger.Container:
    """A container that runs ``python -m service.probe``: the test client, apart from the image it tests."""
    return environment.with_groups("probe").with_directory(f"{APP}/service", service_source)


def probe(
    prober: dagger.Container,
    image: dagger.Container,
    clips: dagger.Directory,
    limits: list[str] | None = None,
    expect: ReturnType = ReturnType.SUCCESS,
) -> dagger.Container:
    """Start ``image`` as its users do, send it ``clips`` and leave the findings in ``/artifacts/inference``."""
    output = f"{ARTIFACTS}/inference"
    url = f"http://api:{SERVICE_PORT}"
    # A line a request would bury what matters in the pipeline's own log.
    service = image.with_env_variable("KWS_ACCESS_LOG", "false").as_service(use_entrypoint=True)
    return (
        prober.with_service_binding("api", service)
        .with_mounted_directory("/clips", clips)
        .with_directory(output, dag.directory())
        .with_exec(
            ["python", "-m", "service.probe", url, "--clips", "/clips", "--output", output, *(limits or [])],
            expect=expect,
        )
    )


async def start_time(image: dagger.Container, tools: dagger.Directory, inference: dagger.Directory) -> dagger.Directory:
    """``inference`` with ``start_time.json``, measured inside ``image``; without it where that could not be done."""
    output = "/tmp/start_time.json"  # noqa: S108 (its user may write there alone)
    measured = (
        image.with_env_variable("KWS_ACCESS_LOG", "false")
        .with_mounted_file("/start_time.py", tools.file("start_time.py"))
        .with_exec(
            ["python", "/start_time.py", "--output", output, "--", *await image.entrypoint()], expect=ReturnType.ANY
        )
    )
    try:
        return await inference.with_file("start_time.json", measured.file(output)).sync()
    except dagger.QueryError:
        return inference


async def findings(probed: dagger.Container) -> dagger.Directory:
    """What the probe left; where the service did not even start, the engine's words for it."""
    try:
        return await probed.directory(f"{ARTIFACTS}/inference").sync()
    except dagger.QueryError as error:
        return dag.directory().with_new_file("error.txt", f"{error}\n")


def sbom_writer(environment: Environment) -> dagger.Container:
    """A container that runs ``cyclonedx-py``, apart from the environment it looks at."""
    return environment.with_groups("sbom", venv="/opt/sbom")


def sbom(environment: Environment, image: dagger.Container) -> dagger.File:
    """CycloneDX: the Python packages in the image's own environment."""
    path = "/sbom.cdx.json"
    return (
        sbom_writer(environment)
        .with_directory(VENV, image.directory(VENV))
        .with_exec(
            [
                "cyclonedx-py",
                "environment",
                "--output-reproducible",
                "--sv=1.6",
                "--output-file",
                path,
                f"{VENV}/bin/python",
            ]
        )
        .file(path)
    )


def toolbox(environment: Environment, tools: dagger.Directory) -> dagger.Container:
    """A container that runs the programs of ``tools/``, which need the standard library alone."""
    return environment.python().with_directory(f"{APP}/tools", tools).with_workdir(APP)


def image_facts(
    environment: Environment, tools: dagger.Directory, archive: dagger.File, reference: str = ""
) -> dagger.File:
    """``image.json``: what the OCI archive says of itself, and where it is published."""
    path = f"{ARTIFACTS}/image.json"
    command = ["python", "-m", "tools.oci", "/image.tar", "--output", path]
    if reference:
        command += ["--reference", reference]
    return toolbox(environment, tools).with_mounted_file("/image.tar", archive).with_exec(command).file(path)


def bounds(
    environment: Environment, tools: dagger.Directory, gates: dagger.File, replaced: list[str]
) -> dagger.Container:
    """The gates' bounds as JSON on stdout; exit code 2, with a line that names it, where one cannot be meant."""
    return (
        toolbox(environment, tools)
        .with_mounted_file(GATES, gates)
        .with_exec(["python", "-m", "tools.bounds", GATES, "--", *replaced], expect=ReturnType.ANY)
    )


def reporter(environment: Environment, model_source: dagger.Directory, tools: dagger.Directory) -> dagger.Container:
    """A container that runs those programs of ``tools/`` that write pages."""
    return toolbox(environment, tools).with_directory(f"{APP}/model", model_source, include=REPORT_SOURCES)


def report(
    environment: Environment,
    model_source: dagger.Directory,
    tools: dagger.Directory,
    artifacts: dagger.Directory,
    gates: dagger.File,
    replaced: list[str],
    release: dagger.File | str,
) -> dagger.Container:
    """Judge the artefacts and write ``report.md`` and ``gates.json`` beside them; exit code 3: a gate failed.

    ``release`` is what the last one measured, or why there is nothing of one to compare with.
    """
    command = ["python", "-m", "tools.report", ARTIFACTS, "--gates", GATES, "--bounds", *replaced]
    container = (
        reporter(environment, model_source, tools).with_mounted_file(GATES, gates).with_directory(ARTIFACTS, artifacts)
    )
    if isinstance(release, str):
        command.append(f"--no-release={release}")
    else:
        container = container.with_mounted_file("/release.json", release)
        command += ["--release", "/release.json"]
    return container.with_exec(command, expect=ReturnType.ANY)


def verdict(environment: Environment, tools: dagger.Directory, artifacts: dagger.Directory) -> dagger.Container:
    """Fail where the verdict in ``gates.json`` is no."""
    return (
        toolbox(environment, tools)
        .with_mounted_directory(ARTIFACTS, artifacts)
        .with_exec(["python", "-m", "tools.gates", ARTIFACTS])
    )
