"""Party: who signs a release, by a key or keyless, and whose signature counts."""

import dagger
from dagger import dag

from .settings import Settings
from .steps import UserError

KEY, PUBLIC, SIGNING, ROOT = (f"/cosign/{name}" for name in ("cosign.key", "cosign.pub", "signing.json", "root.json"))


class Party:
    """As the constructor names it; by a key nothing is asked of the public services of sigstore."""

    def __init__(self, kws: Settings) -> None:
        self.kws = kws
        self.keyless = {"--oidc-request-url": kws.oidc_request_url, "--oidc-request-token": kws.oidc_request_token}

    @property
    def signs(self) -> bool:
        """Whether there is a way to sign."""
        return self.kws.signing_key is not None or any(self.keyless.values())

    @property
    def verifies(self) -> bool:
        """Whether it is known whose signature counts."""
        return any((self.kws.signing_key, self.kws.public_key, self.kws.identity))

    async def check(self) -> None:
        """Raise UserError on what cannot work: cosign would wait for a person at a browser."""
        kws = self.kws
        if kws.signing_key is not None and any(self.keyless.values()):
            raise UserError("--signing-key and --oidc-request-url exclude each other: sign with a key, or keyless")
        if bool(kws.identity) != bool(kws.issuer):
            raise UserError("--identity and --issuer go together: whose keyless signature counts, and who vouches")
        if not any(self.keyless.values()):
            return
        if not kws.identity:
            raise UserError("--identity and --issuer are missing: what is signed keyless is verified by them")
        for name, secret in self.keyless.items():
            if secret is None or not (await secret.plaintext()).strip():
                raise UserError(
                    f"{name} is empty: keyless signing needs both, env:ACTIONS_ID_TOKEN_REQUEST_URL and "
                    "env:ACTIONS_ID_TOKEN_REQUEST_TOKEN, which a job with 'permissions: id-token: write' has"
                )

    def prepared(self, container: dagger.Container) -> dagger.Container:
        """The container with secrets and keys."""
        kws, container = self.kws, container.with_directory("/cosign", dag.directory())
        if kws.oidc_request_url is not None and kws.oidc_request_token is not None:
            container = container.with_secret_variable("ACTIONS_ID_TOKEN_REQUEST_URL", kws.oidc_request_url)
            container = container.with_secret_variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN", kws.oidc_request_token)
        if kws.signing_key is None and kws.public_key is None:
            return container
        container = container.with_exec(["cosign", "signing-config", "create", "--out", SIGNING])
        container = container.with_exec(["cosign", "trusted-root", "create", "--out", ROOT])
        if kws.signing_key is not None:
            container = container.with_mounted_secret(KEY, kws.signing_key)
            if kws.signing_passphrase is None:
                container = container.with_env_variable("COSIGN_PASSWORD", "")
            else:
                container = container.with_secret_variable("COSIGN_PASSWORD", kws.signing_passphrase)
        if kws.public_key is not None:
            return container.with_file(PUBLIC, kws.public_key)
        return container.with_exec(["cosign", "public-key", "--key", KEY, "--outfile", PUBLIC])

    def signing(self) -> list[str]:
        """cosign's options to sign. Keyless without a token it fails at once, in place of asking for a browser."""
        if self.kws.signing_key is None:
            return ["--yes", "--fulcio-auth-flow=token"]
        return ["--yes", "--key", KEY, "--signing-config", SIGNING, "--trusted-root", ROOT]

    def verifying(self) -> list[str]:
        """cosign's options to verify. Raises UserError where it is not known whose signature counts."""
        if self.kws.signing_key is not None or self.kws.public_key is not None:
            return ["--key", PUBLIC, "--trusted-root", ROOT, "--insecure-ignore-tlog"]
        if not self.kws.identity:
            raise UserError(
                "--public-key is missing: give cosign.pub, or --identity and --issuer of a keyless signature"
            )
        return ["--certificate-identity-regexp", self.kws.identity, "--certificate-oidc-issuer", self.kws.issuer]
