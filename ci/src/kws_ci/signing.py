"""Who signs a release, and whose signature is asked for; checked before any work."""

from dataclasses import dataclass

import dagger

from .errors import UserError

KEY = "/run/secrets/cosign.key"


@dataclass(frozen=True)
class Signing:
    """A key with its passphrase, or the request pair by which GitHub vouches for a workflow; nothing: unsigned."""

    key: dagger.Secret | None = None
    passphrase: dagger.Secret | None = None
    request_url: dagger.Secret | None = None
    request_token: dagger.Secret | None = None
    transparency_log: bool = False

    async def check(self) -> None:
        """Raise UserError on a pair that cannot work: cosign would wait for a person at a browser."""
        pair = {"--oidc-request-url": self.request_url, "--oidc-request-token": self.request_token}
        if self.key is not None and any(pair.values()):
            raise UserError("--signing-key and --oidc-request-url exclude each other: sign with a key, or keyless")
        if self.passphrase is not None and self.key is None:
            raise UserError("--signing-passphrase needs --signing-key")
        if not any(pair.values()):
            return
        for name, secret in pair.items():
            if secret is None or not (await secret.plaintext()).strip():
                raise UserError(
                    f"{name} is empty: keyless signing needs both, env:ACTIONS_ID_TOKEN_REQUEST_URL and "
                    "env:ACTIONS_ID_TOKEN_REQUEST_TOKEN, which a job with 'permissions: id-token: write' has"
                )

    def apply(self, container: dagger.Container) -> tuple[dagger.Container, list[str]]:
        """The container with the secrets of signing, and the options of ``tools.registry`` for them."""
        if self.key is not None:
            container = container.with_mounted_secret(KEY, self.key)
            if self.passphrase is not None:
                container = container.with_secret_variable("COSIGN_PASSWORD", self.passphrase)
            return container, [f"--key={KEY}", *(["--transparency-log"] if self.transparency_log else [])]
        if self.request_url is not None and self.request_token is not None:
            container = container.with_secret_variable("ACTIONS_ID_TOKEN_REQUEST_URL", self.request_url)
            return container.with_secret_variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN", self.request_token), ["--keyless"]
        return container, []


def verifying(
    container: dagger.Container, key: dagger.File | None, identity: str, issuer: str, transparency_log: bool
) -> tuple[dagger.Container, list[str]]:
    """The container with the public key, and the options for it. Raises UserError where neither party is named."""
    if key is not None:
        log = ["--transparency-log"] if transparency_log else []
        return container.with_mounted_file("/cosign.pub", key), ["--key=/cosign.pub", *log]
    if not (identity and issuer):
        raise UserError("--key is missing: give the public key, or --identity and --issuer of a keyless signature")
    return container, [f"--identity={identity}", f"--issuer={issuer}"]
