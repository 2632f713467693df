"""The releases in a registry: `dagger call releases --address=… FUNCTION`."""

from typing import Annotated

import dagger
from dagger import Doc, dag, function, object_type

from . import supply_chain
from .errors import UserError, said
from .github import GITHUB_API
from .registry import Registry, checked_tags
from .signing import Signing, verifying

Reference = Annotated[str, Doc("A tag, or a digest sha256:…")]
PublicKey = Annotated[dagger.File | None, Doc("cosign's public key")]
Identity = Annotated[str, Doc("Keyless: a regular expression over the signer's identity, the workflow's URL")]
Issuer = Annotated[str, Doc("Keyless: who vouches for it, such as https://token.actions.githubusercontent.com")]
Log = Annotated[bool, Doc("Of a key's signature: the public transparency log takes part (keyless it always does)")]
SigningKey = Annotated[dagger.Secret | None, Doc("cosign's private key, such as file:cosign.key")]
SigningPassphrase = Annotated[dagger.Secret | None, Doc("Its passphrase, such as env:COSIGN_PASSWORD")]
RequestUrl = Annotated[dagger.Secret | None, Doc("Keyless: env:ACTIONS_ID_TOKEN_REQUEST_URL")]
RequestToken = Annotated[dagger.Secret | None, Doc("Keyless: env:ACTIONS_ID_TOKEN_REQUEST_TOKEN")]
PackagesToken = Annotated[
    dagger.Secret | None, Doc("A token with read:packages, and delete:packages to delete, such as env:GITHUB_TOKEN")
]
PackagesApi = Annotated[str, Doc("GitHub's API, or that of an Enterprise server (default: GitHub's own, for ghcr.io)")]
OlderThan = Annotated[int, Doc("Days since an image was pushed or last had a tag")]
Delete = Annotated[bool, Doc("Do it; without, it is only told what would be removed")]
ToTags = Annotated[list[str] | None, Doc("The tags to set (default: latest)")]


@object_type
class Releases:
    """A repository in a registry and what has been released there."""

    address: str
    username: str
    password: dagger.Secret | None
    service: dagger.Service | None
    base_image: str
    debian_mirror: str
    tools: dagger.Directory

    @function(cache="never")  # type: ignore[call-overload]
    async def verify(
        self,
        reference: Reference,
        key: PublicKey = None,
        identity: Identity = "",
        issuer: Issuer = "",
        transparency_log: Log = False,
    ) -> str:
        """Check signature, signed provenance and every attachment; fails on another key, digest or changed bytes."""
        container, options = verifying(self._toolbox, key, identity, issuer, transparency_log)
        return await said(self._registry.run(container, "verify", reference, *options))

    @function(cache="never")  # type: ignore[call-overload]
    async def sign(
        self,
        reference: Reference,
        signing_key: SigningKey = None,
        signing_passphrase: SigningPassphrase = None,
        oidc_request_url: RequestUrl = None,
        oidc_request_token: RequestToken = None,
        transparency_log: Log = False,
    ) -> str:
        """Sign an image that is there, and the provenance attached to it; prints its digest reference."""
        signing = Signing(signing_key, signing_passphrase, oidc_request_url, oidc_request_token, transparency_log)
        await signing.check()
        container, options = signing.apply(self._toolbox)
        if not options:
            raise UserError("--signing-key is missing: give a key, or --oidc-request-url and --oidc-request-token")
        return await said(self._registry.run(container, "sign", reference, *options))

    @function(cache="never")  # type: ignore[call-overload]
    async def promote(
        self,
        reference: Reference,
        tags: ToTags = None,
        key: PublicKey = None,
        identity: Identity = "",
        issuer: Issuer = "",
        transparency_log: Log = False,
    ) -> str:
        """Put tags on an image that verifies, without a rebuild; prints its digest reference."""
        names = checked_tags(["latest"] if tags is None else tags)
        container, options = verifying(self._toolbox, key, identity, issuer, transparency_log)
        return await said(self._registry.run(container, "promote", reference, *options, "--tags", *names))

    @function(cache="never")  # type: ignore[call-overload]
    async def rollback(
        self,
        reference: Reference,
        key: PublicKey = None,
        identity: Identity = "",
        issuer: Issuer = "",
        transparency_log: Log = False,
    ) -> str:
        """Let `latest` name an earlier release again, if it verifies; prints its digest reference."""
        return await self.promote(reference, ["latest"], key, identity, issuer, transparency_log)

    @function(cache="never")  # type: ignore[call-overload]
    async def attachments(self, reference: Reference = "latest") -> dagger.Directory:
        """What is attached to an image: sbom.cdx.json, evaluation.json, provenance.json, model.onnx, figures.json."""
        run = self._registry.run(self._toolbox, "fetch", reference, "--output", "/attachments")
        await said(run)
        return run.directory("/attachments")

    @function(cache="never")  # type: ignore[call-overload]
    async def prune(
        self, token: PackagesToken = None, older_than: OlderThan = 30, delete: Delete = False, api: PackagesApi = ""
    ) -> str:
        """Remove old images that no tag leads to, from GitHub's registry; a line a version. Only told without --delete.

        What a tagged or a younger image reaches stays: the images of an index, attachments, signatures.
        """
        if not api and self._registry.host != "ghcr.io":
            raise UserError(
                f"{self._registry.host} cannot list images without a tag: run its own garbage collection (Debian's: "
                "docker-registry garbage-collect --delete-untagged CONFIG.yml, while nothing is pushed), or name the "
                "API of a GitHub Enterprise server with --api"
            )
        if token is None:
            raise UserError("--token is missing: images without a tag are listed by GitHub's API alone")
        if older_than < 1:
            raise UserError("--older-than is at least a day: what is being pushed has no tag yet")
        container = self._toolbox.with_secret_variable("GITHUB_TOKEN", token)
        options = [f"--api={api or GITHUB_API}", f"--older-than={older_than}", *(["--delete"] if delete else [])]
        return await said(self._registry.run(container, "prune", *options))

    @property
    def _registry(self) -> Registry:
        return Registry(self.address, self.username, self.password, self.service)

    @property
    def _toolbox(self) -> dagger.Container:
        return supply_chain.release_tools(dag.container().from_(self.base_image), self.debian_mirror, self.tools)
