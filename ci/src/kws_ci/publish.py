"""Release: pushed by digest, pulled back, attested, verified; tags move last of all."""

import base64
import json
import re
from typing import Annotated

import dagger
from dagger import Doc, ReturnType, dag, function, object_type

from .containers import Toolbox
from .image import ARCHIVE, Image, moment
from .settings import Settings
from .sign import Party
from .steps import ProgramError, UserError, gather, stdout, uncached

# The grammar of the OCI distribution specification, less what a user cannot mean here.
_ADDRESS = re.compile(
    r"(localhost|[A-Za-z0-9.-]+(?:\.[A-Za-z0-9-]+|:\d+))(:\d+)?"
    r"/[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*"
)
_REFERENCE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}|sha256:[0-9a-f]{64}")
# What a registry says of a package that is not there yet; GHCR does not tell it from one that is not to be seen.
_ABSENT = ("not found", "denied", "unauthorized", "forbidden")
SIGNATURE, EVALUATION = "https://sigstore.dev/cosign/sign/v1", "urn:kws:evaluation:v1"
# The type of each file that is attested beside the signature.
TYPES = {"slsa.json": "slsaprovenance1", "sbom.cdx.json": "cyclonedx", "gates.json": EVALUATION}
MODELPACK = "application/vnd.cncf.model"
FOUND, PREDICATE, EQUALS = "/found.jsonl", "/predicate.json", "/equals.json"


class Release:
    """What is done to the repository at the address. Nothing here is answered from a cache.

    Raises:
        UserError: arguments that cannot work, told before any work.
    """

    def __init__(self, kws: Settings) -> None:
        self.kws, self.address, self.party = kws, kws.address, Party(kws)
        if not _ADDRESS.fullmatch(kws.address):
            raise UserError(
                f"--address {kws.address!r} is not HOST/NAME in lower case, without scheme, tag or digest "
                "(such as ghcr.io/owner/name or 127.0.0.1:5000/me/name)"
            )
        if bool(kws.username) != (kws.password is not None):
            raise UserError("--username and --password go together: give both (--password env:CR_PAT), or neither")
        self.host, _, name = kws.address.partition("/")
        if self.host.partition(":")[0] in ("localhost", "127.0.0.1") and kws.registry is None:
            raise UserError(
                f"--address {kws.address!r} is each container's own loopback: hand the registry over as a service, "
                f"--registry=tcp://{self.host}"
            )
        # A registry that was handed over is a service of the containers, over HTTP.
        self.insecure = kws.registry is not None
        if self.insecure:
            self.host = f"registry:{self.host.partition(':')[2] or 80}"
        self.endpoint = f"{self.host}/{name}"

    def at(self, reference: str) -> str:
        """A tag or a digest as the containers reach it. Raises UserError on what is neither."""
        if not _REFERENCE.fullmatch(reference):
            raise UserError(f"--reference {reference!r} is neither a tag nor a digest sha256:…")
        return f"{self.endpoint}{'@' if ':' in reference else ':'}{reference}"

    async def _container(self) -> dagger.Container:
        """regctl and cosign, with the registry bound and the login in a file: on no command line, in no layer."""
        kws = self.kws
        container = self.party.prepared(Toolbox(kws).programs("regctl", "cosign"))
        if kws.registry is not None:
            container = container.with_service_binding("registry", kws.registry)
        if kws.password is not None:
            pair = base64.b64encode(f"{kws.username}:{await kws.password.plaintext()}".encode()).decode()
            login = dag.set_secret("kws-registry-login", json.dumps({"auths": {self.host: {"auth": pair}}}))
            container = container.with_mounted_secret("/run/docker/config.json", login)
            container = container.with_env_variable("DOCKER_CONFIG", "/run/docker")
        return uncached(container)

    def _regctl(self, *arguments: str) -> list[str]:
        return ["regctl", *(["--host", f"reg={self.host},tls=disabled"] if self.insecure else []), *arguments]

    def _cosign(self, *arguments: str) -> list[str]:
        return ["cosign", *arguments, *(["--allow-http-registry"] if self.insecure else [])]

    async def check_push(self) -> None:
        """See that the registry lets us push, before any work: a blob that nothing names is all that is left."""
        put = (await self._container()).with_exec(self._regctl("blob", "put", self.endpoint), stdin="{}")
        try:
            await stdout(put)
        except ProgramError as error:
            raise ProgramError(f"{self.address} cannot be pushed to: {error}") from None

    async def digest(self, reference: str) -> str:
        """What a reference names; empty where the registry has nothing there, or shows nothing."""
        command = self._regctl("image", "digest", self.at(reference))
        asked = (await self._container()).with_exec(command, expect=ReturnType.ANY)
        if await asked.exit_code() == 0:
            return (await asked.stdout()).strip()
        said = (await asked.stderr()).strip()
        if any(word in said.lower() for word in _ABSENT):
            return ""
        raise ProgramError(f"{self.address}: {said}")

    async def existing(self, reference: str) -> str:
        """The digest of what is there. Raises ProgramError where nothing is."""
        if not (digest := await self.digest(reference)):
            raise ProgramError(f"{self.address} holds nothing under {reference}, or does not show it")
        return digest

    async def push(self, image: Image) -> None:
        """Push without a tag, and see that the registry has what was built."""
        container = (await self._container()).with_mounted_file(ARCHIVE, image.archive)
        await stdout(container.with_exec(self._regctl("image", "import", self.at(image.digest), ARCHIVE)))
        await self.existing(image.digest)

    async def push_model(self, onnx: dagger.File) -> str:
        """Push the model as an artefact of its own, without a tag, with ModelPack's media types; returns its digest."""
        container = (await self._container()).with_mounted_file("/model.onnx", onnx).with_new_file("/config.json", "{}")
        types = ["--artifact-type", f"{MODELPACK}.manifest.v1+json", "--config-type", f"{MODELPACK}.config.v1+json"]
        files = ["--config-file=/config.json", "-m", f"{MODELPACK}.weight.v1.raw", "-f", "/model.onnx", "--file-title"]
        files += ["--strip-dirs", "--annotation", f"org.opencontainers.image.created={moment(self.kws.created)}"]
        told = ["--by-digest", "--format={{.Manifest.GetDescriptor.Digest}}", self.endpoint]
        return await stdout(container.with_exec(self._regctl("artifact", "put", *types, *files, *told)))

    async def pulled(self, digest: str) -> dagger.Container:
        """The image that the registry has, fetched anew."""
        run = (await self._container()).with_exec(self._regctl("image", "export", self.at(digest), ARCHIVE))
        await stdout(run)
        return dag.container().import_(run.file(ARCHIVE))

    async def attestation(self, digest: str, kind: str, equals: dagger.File | None = None) -> dagger.File | str:
        """The predicate of a verified attestation; where there is none (such as ``equals``), cosign's words."""
        command = self._cosign("verify-attestation", *self.party.verifying(), "--type", kind, self.at(digest))
        container = (await self._container()).with_new_file(PREDICATE, "")
        asked = container.with_exec(command, redirect_stdout=FOUND, expect=ReturnType.ANY)
        judge = ["attestation", FOUND, "--type", kind, "--digest", digest, "--output", PREDICATE]
        files = {EQUALS: equals} if equals else {}
        judge += ["--equals", EQUALS] if equals else []
        judged = Toolbox(self.kws).release(judge, files, asked, ReturnType.ANY)
        if await judged.exit_code() == 0:
            return judged.file(PREDICATE)
        said = (await asked.stderr(), await judged.stderr())
        return "; ".join(line for text in said for line in text.strip().splitlines()[-1:]) or "nothing was found"

    async def attest(self, digest: str, files: dict[str, dagger.File]) -> None:
        """Sign, and attest what is missing, one after another; then each is verified by its type.

        ``files`` are named as in ``TYPES``. Of the figures any of this image count: a repeated run measures others.
        What an interrupted run left is the first of them: after one that is missing all are.
        """
        missing = False
        for name, kind in {"": SIGNATURE, **{name: TYPES[name] for name in files}}.items():
            equals = None if kind in (SIGNATURE, EVALUATION) else files[name]
            missing = missing or isinstance(await self.attestation(digest, kind, equals), str)
            if not missing:
                continue
            container, command = await self._container(), ["sign"]
            if name:
                container = container.with_mounted_file(PREDICATE, files[name])
                command = ["attest", "--type", kind, "--predicate", PREDICATE]
            await stdout(container.with_exec(self._cosign(*command, *self.party.signing(), self.at(digest))))
            if isinstance(said := await self.attestation(digest, kind, equals), str):
                raise ProgramError(f"{self.address}@{digest}: {kind} was attested and does not verify: {said}")

    async def verified(self, digest: str) -> dict[str, dagger.File]:
        """The attested files of a release. Raises ProgramError where a signature or a type is missing or not ours."""
        kinds = {"signature": SIGNATURE, **TYPES}
        found = await gather(*(self.attestation(digest, kind) for kind in kinds.values()))
        wrong = [
            f"not verified: {name}: {said}" for name, said in zip(kinds, found, strict=True) if isinstance(said, str)
        ]
        if wrong:
            raise ProgramError("\n".join([f"{self.address}@{digest}", *wrong]))
        return dict(zip(TYPES, found[1:], strict=True))

    async def tag(self, digest: str, tags: list[str]) -> None:
        """Let each tag name the digest, in their order, and see that it does."""
        for tag in tags:
            container = await self._container()
            await stdout(container.with_exec(self._regctl("image", "copy", self.at(digest), self.at(tag))))
            if (named := await self.existing(tag)) != digest:
                raise ProgramError(f"{self.address}:{tag} names {named}, not {digest}")

    async def last(self) -> dagger.File | str:
        """The figures of what ``latest`` names, from its verified attestation; where there are none, why."""
        if not (digest := await self.digest("latest")):
            return f"{self.address} holds nothing under latest"
        if not self.party.verifies:
            return "it is not known whose signature counts: --public-key, or --identity and --issuer"
        found = await self.attestation(digest, EVALUATION)
        if isinstance(found, str):
            return f"{self.address}:latest has no figures that verify: {found}"
        # By its content: asking anew must not judge anew.
        return dag.directory().with_new_file("last.json", await found.contents()).file("last.json")


Reference = Annotated[str, Doc("A tag, or a digest sha256:…")]


@object_type
class Releases:
    """What has been released to the address: `dagger call --address=… releases FUNCTION`."""

    settings: Settings

    @function
    async def verify(self, reference: Reference) -> str:
        """Check the signature and each attestation by its type; fails on another key, digest, bytes, a missing type."""
        release = Release(self.settings)
        digest = await release.existing(reference)
        found = ["signature", *await release.verified(digest), f"{release.address}@{digest}"]
        return "\n".join(f"verified: {name}" for name in found)

    @function
    async def attestations(self, reference: Reference = "latest") -> dagger.Directory:
        """The verified files of a release: slsa.json, sbom.cdx.json, gates.json."""
        release, found = Release(self.settings), dag.directory()
        for name, file in (await release.verified(await release.existing(reference))).items():
            found = found.with_file(name, file)
        return found

    async def _promote(self, reference: str, tags: list[str]) -> str:
        release = Release(self.settings)
        digest = await release.existing(reference)
        await release.verified(digest)
        await release.tag(digest, tags)
        return f"{release.address}@{digest}"

    @function
    async def promote(
        self, reference: Reference, tags: Annotated[list[str] | None, Doc("To set (default: latest)")] = None
    ) -> str:
        """Put tags on a release that verifies, without a rebuild; prints its digest reference."""
        return await self._promote(reference, ["latest"] if tags is None else tags)

    @function
    async def rollback(self, reference: Reference) -> str:
        """Let `latest` name an earlier release again, if it verifies; prints its digest reference."""
        return await self._promote(reference, ["latest"])
