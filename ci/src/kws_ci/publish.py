"""Release: pushed by digest, pulled back, attested, verified; tags move last of all."""

import base64
import json
from typing import Annotated, Any

import dagger
from dagger import Doc, ReturnType, dag, object_type

from .containers import Files, Toolbox, mounted
from .image import ARCHIVE, Image
from .steps import ProgramError, UserError, function, gather, stdout, uncached

# What a registry says of a package that is not there yet; GHCR does not tell it from one that is not to be seen.
_ABSENT = ("not found", "denied", "unauthorized", "forbidden")
SIGNATURE, EVALUATION = "https://sigstore.dev/cosign/sign/v1", "urn:kws:evaluation:v1"
# The type of each file that is attested beside the signature.
TYPES = {"slsa.json": "slsaprovenance1", "sbom.cdx.json": "cyclonedx", "gates.json": EVALUATION}
# cosign's own names of what signs without a key: GitHub's pair, GitLab's token.
KEYLESS = ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "SIGSTORE_ID_TOKEN")
MODELPACK = "application/vnd.cncf.model"
KEY, PUBLIC, SIGNING, ROOT = (f"/cosign/{name}" for name in ("cosign.key", "cosign.pub", "signing.json", "root.json"))
FOUND, PREDICATE, EQUALS = "/found.jsonl", "/predicate.json", "/equals.json"
Reference = Annotated[str, Doc("A tag, or a digest sha256:…")]


@object_type
class Releases:
    """What is released to the address: `dagger call --address=… releases FUNCTION`. No cache answers."""

    settings: Toolbox

    def __post_init__(self) -> None:
        kws = self.settings
        if not kws.address:
            raise UserError("--address is missing: HOST/NAME, such as ghcr.io/owner/name")
        self.host, _, name = kws.address.partition("/")
        # A registry that was handed over is a service of the containers, over HTTP.
        if kws.registry is not None:
            self.host = f"registry:{self.host.partition(':')[2] or 80}"
        self.endpoint = f"{self.host}/{name}"
        tokens = zip(KEYLESS, (kws.oidc_request_url, kws.oidc_request_token, kws.id_token), strict=True)
        self.keyless = {name: token for name, token in tokens if token is not None}
        self.signs = kws.signing_key is not None or bool(self.keyless)
        self.by_key = kws.signing_key is not None or kws.public_key is not None
        self.verifying = ["--certificate-identity-regexp", kws.identity, "--certificate-oidc-issuer", kws.issuer]
        if self.by_key:
            self.verifying = ["--key", PUBLIC, "--trusted-root", ROOT, "--insecure-ignore-tlog"]

    def at(self, reference: str) -> str:
        """A tag or a digest as the containers reach it."""
        return f"{self.endpoint}{'@' if ':' in reference else ':'}{reference}"

    def _with_keys(self) -> dagger.Container:
        """regctl and cosign; by a key nothing is asked of the public services of sigstore."""
        kws, container = self.settings, self.settings.with_tools(self.settings.base(), "regctl", "cosign")
        container = container.with_directory("/cosign", dag.directory())
        for name, secret in self.keyless.items():
            container = container.with_secret_variable(name, secret)
        if self.by_key:
            container = container.with_exec(["cosign", "signing-config", "create", "--out", SIGNING])
            container = container.with_exec(["cosign", "trusted-root", "create", "--out", ROOT])
        if kws.signing_key is not None:
            keyed, phrase = container.with_mounted_secret(KEY, kws.signing_key), kws.signing_passphrase
            without = keyed.with_env_variable("COSIGN_PASSWORD", "")
            container = keyed.with_secret_variable("COSIGN_PASSWORD", phrase) if phrase else without
            if kws.public_key is None:
                return container.with_exec(["cosign", "public-key", "--key", KEY, "--outfile", PUBLIC])
        return container.with_file(PUBLIC, kws.public_key) if kws.public_key is not None else container

    async def _run(self, *command: str, files: Files | None = None, **execution: Any) -> dagger.Container:
        """A command with the registry bound and the login in a file: on no command line, in no layer."""
        kws, container, http = self.settings, self._with_keys(), []
        if kws.registry is not None:
            container = container.with_service_binding("registry", kws.registry)
            http = ["--host", f"reg={self.host},tls=disabled"] if command[0] == "regctl" else ["--allow-http-registry"]
        if kws.password is not None:
            pair = base64.b64encode(f"{kws.username}:{await kws.password.plaintext()}".encode()).decode()
            login = dag.set_secret("kws-registry-login", json.dumps({"auths": {self.host: {"auth": pair}}}))
            container = container.with_mounted_secret("/run/docker/config.json", login)
            container = container.with_env_variable("DOCKER_CONFIG", "/run/docker")
        return mounted(uncached(container), files or {}).with_exec([*command, *http], **execution)

    async def check(self) -> str:
        """See that we can sign and push, before any work: a blob that nothing names is all that is left."""
        for name, secret in self.keyless.items():  # without its token cosign would wait for a person at a browser
            if not (await secret.plaintext()).strip():
                raise UserError(f"{name} is empty: a job has it by 'id-token: write', on GitLab by 'id_tokens'")
        try:
            await stdout(await self._run("regctl", "blob", "put", self.endpoint, stdin="{}"))
        except ProgramError as error:
            raise ProgramError(f"{self.settings.address} cannot be pushed to: {error}") from None
        return f"a blob was pushed to {self.settings.address}, which nothing names"

    async def digest(self, reference: str) -> str:
        """What a reference names; empty where the registry has nothing there, or shows nothing."""
        asked = await self._run("regctl", "image", "digest", self.at(reference), expect=ReturnType.ANY)
        if await asked.exit_code() == 0:
            return (await asked.stdout()).strip()
        said = (await asked.stderr()).strip()
        if any(word in said.lower() for word in _ABSENT):
            return ""
        raise ProgramError(f"{self.settings.address}: {said}")

    async def existing(self, reference: str) -> str:
        """The digest of what is there. Raises ProgramError where nothing is."""
        if not (digest := await self.digest(reference)):
            raise ProgramError(f"{self.settings.address} holds nothing under {reference}, or does not show it")
        return digest

    async def push(self, image: Image) -> None:
        """Push without a tag; regctl compares the digest."""
        archive = {ARCHIVE: image.archive}
        await stdout(await self._run("regctl", "image", "import", self.at(image.digest), ARCHIVE, files=archive))

    async def push_model(self, onnx: dagger.File) -> str:
        """Push the model as an artefact of its own, without a tag, with ModelPack's media types; returns its digest."""
        command = ["regctl", "artifact", "put", "--artifact-type", f"{MODELPACK}.manifest.v1+json"]
        command += ["--config-type", f"{MODELPACK}.config.v1+json", "--config-file", "/config.json"]
        command += ["-m", f"{MODELPACK}.weight.v1.raw", "-f", "/model.onnx", "--file-title", "--strip-dirs"]
        command += ["--annotation", f"org.opencontainers.image.created={self.settings.moment}"]
        command += ["--by-digest", "--format={{.Manifest.GetDescriptor.Digest}}", self.endpoint]
        config = dag.directory().with_new_file("config.json", "{}").file("config.json")
        return await stdout(await self._run(*command, files={"/model.onnx": onnx, "/config.json": config}))

    async def pulled(self, reference: str) -> dagger.Container:
        """The image that the registry has, fetched anew."""
        run = await self._run("regctl", "image", "export", self.at(await self.existing(reference)), ARCHIVE)
        await stdout(run)
        return dag.container().import_(run.file(ARCHIVE))

    async def attestation(self, digest: str, kind: str, equals: dagger.File | None = None) -> dagger.File | str:
        """The predicate of a verified attestation; where there is none, or none like ``equals``, cosign's words."""
        if not self.by_key and not self.settings.identity:
            return "--public-key is missing: give cosign.pub, or --identity and --issuer of a keyless signature"
        command = ["cosign", "verify-attestation", *self.verifying, "--type", kind, self.at(digest)]
        asked = await self._run(*command, redirect_stdout=FOUND, expect=ReturnType.ANY)
        if await asked.exit_code() == 0:
            same = {EQUALS: equals} if equals else {}
            judge = ["attestation", FOUND, "--digest", digest, "--output", PREDICATE]
            judge += [f"--equals={path}" for path in same]
            asked = self.settings.release(judge, {FOUND: asked.file(FOUND), **same}, expect=ReturnType.ANY)
            if await asked.exit_code() == 0:
                return asked.file(PREDICATE)
        return (await asked.stderr()).strip().rpartition("\n")[2] or "nothing was found"

    async def attest(self, digest: str, files: dict[str, dagger.File]) -> None:
        """Sign, and attest what is missing of ``files``, named as in ``TYPES``; each is then verified by its type."""
        key = ["--key", KEY, "--signing-config", SIGNING, "--trusted-root", ROOT]
        # Without a key and without a token it fails at once, in place of asking for a browser.
        signing = ["--yes", *(key if self.settings.signing_key is not None else ["--fulcio-auth-flow=token"])]
        missing = False  # an interrupted run left the first of them: after one that is missing, all are
        for name, kind in {"": SIGNATURE, **{name: TYPES[name] for name in files}}.items():
            # Any attested figures of this image count: a repeated run measures others.
            equals = None if kind in (SIGNATURE, EVALUATION) else files[name]
            missing = missing or isinstance(await self.attestation(digest, kind, equals), str)
            if not missing:
                continue
            command = ["attest", "--type", kind, "--predicate", PREDICATE] if name else ["sign"]
            predicate = {PREDICATE: files[name]} if name else {}
            await stdout(await self._run("cosign", *command, *signing, self.at(digest), files=predicate))
            if isinstance(said := await self.attestation(digest, kind, equals), str):
                raise ProgramError(f"{self.at(digest)}: {kind} was attested and does not verify: {said}")

    async def verified(self, digest: str) -> dict[str, dagger.File]:
        """The attested files of a release. Raises ProgramError where a signature or a type is missing or not ours."""
        kinds = {"signature": SIGNATURE, **TYPES}
        asked = await gather(*(self.attestation(digest, kind) for kind in kinds.values()))
        found = dict(zip(kinds, asked, strict=True))
        if wrong := [f"not verified: {name}: {said}" for name, said in found.items() if isinstance(said, str)]:
            raise ProgramError("\n".join([self.at(digest), *wrong]))
        return {name: found[name] for name in TYPES}

    async def tag(self, digest: str, tags: list[str]) -> None:
        """Let each tag name the digest, in their order, and see that it does."""
        for tag in tags:
            await stdout(await self._run("regctl", "image", "copy", self.at(digest), self.at(tag)))
            if (named := await self.existing(tag)) != digest:
                raise ProgramError(f"{self.settings.address}:{tag} names {named}, not {digest}")

    async def last(self) -> dagger.File | str:
        """The figures of what ``latest`` names, from its verified attestation; where there are none, why."""
        if not (digest := await self.digest("latest")):
            return f"{self.settings.address} holds nothing under latest"
        found = await self.attestation(digest, EVALUATION)
        if isinstance(found, str):
            return f"{self.settings.address}:latest has no figures that verify: {found}"
        # By its content: asking anew must not judge anew.
        return dag.directory().with_new_file("last.json", await found.contents()).file("last.json")

    @function
    async def verify(self, reference: Reference) -> str:
        """Check the signature and each attestation by its type; fails on another key, digest, bytes, a missing type."""
        digest = await self.existing(reference)
        found = ["signature", *await self.verified(digest), f"{self.settings.address}@{digest}"]
        return "\n".join(f"verified: {name}" for name in found)

    @function
    async def attestations(self, reference: Reference = "latest") -> dagger.Directory:
        """The verified files of a release: slsa.json, sbom.cdx.json, gates.json."""
        found = dag.directory()
        for name, file in (await self.verified(await self.existing(reference))).items():
            found = found.with_file(name, file)
        return found

    @function
    async def promote(
        self, reference: Reference, tags: Annotated[list[str] | None, Doc("To set (default: latest)")] = None
    ) -> str:
        """Put tags on a release that verifies, without a rebuild; prints its digest reference."""
        digest = await self.existing(reference)
        await self.verified(digest)
        await self.tag(digest, ["latest"] if tags is None else tags)
        return f"{self.settings.address}@{digest}"

    @function
    async def rollback(self, reference: Reference) -> str:
        """Let `latest` name an earlier release again, if it verifies; prints its digest reference."""
        return await self.promote(reference)
