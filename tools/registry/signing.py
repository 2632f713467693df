"""Signing and verifying with cosign: a key anywhere, or keyless where GitHub vouches for the workflow."""

from __future__ import annotations

import base64
import json
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.oci import digest_of
from tools.registry import attachments
from tools.registry.client import Registry, RegistryError, say

PROVENANCE_TYPE = "https://slsa.dev/provenance/v1"
# cosign's words where nobody, or another party, has signed.
UNSIGNED = re.compile(
    r"no (matching )?(signatures|attestations)|none of the (expected|attestations)|MANIFEST_UNKNOWN", re.I
)
OIDC = ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN")


@dataclass(frozen=True)
class Signer:
    """Who signs: with the private key in ``key`` (its passphrase in COSIGN_PASSWORD), or keyless without.

    ``transparency_log``: enter the signature into the public log; keyless it always is.
    """

    key: Path | None = None
    transparency_log: bool = False

    def options(self) -> list[str]:
        if self.key is None:
            # cosign would wait for a person at a browser.
            missing = [name for name in OIDC if not os.environ.get(name)]
            if missing:
                raise RegistryError(
                    f"keyless signing needs {' and '.join(missing)}: give the job 'permissions: id-token: write' and "
                    "hand both over, or sign with a key (--signing-key)"
                )
            return ["--yes"]
        return ["--yes", "--key", str(self.key), f"--tlog-upload={str(self.transparency_log).lower()}"]


@dataclass(frozen=True)
class Verifier:
    """Whose signature is asked for: that of the public key in ``key``, or of an identity that an issuer vouches for."""

    key: Path | None = None
    identity: str = ""
    issuer: str = ""
    transparency_log: bool = False

    def options(self) -> list[str]:
        if self.key is not None:
            return ["--key", str(self.key), f"--insecure-ignore-tlog={str(not self.transparency_log).lower()}"]
        if not self.identity or not self.issuer:
            raise RegistryError("verifying needs --key, or both --identity and --issuer")
        return ["--certificate-identity-regexp", self.identity, "--certificate-oidc-issuer", self.issuer]


def sign(registry: Registry, image: str, signer: Signer, provenance: Path | None) -> None:
    """Sign the image with that digest, and the provenance as an attestation, unless the same key has done so."""
    options = signer.options()
    environment = {} if os.environ.get("COSIGN_PASSWORD") else {"COSIGN_PASSWORD": ""}  # else cosign asks for it
    known = _own_verifier(signer, environment)
    if known is None or not _signed(registry, image, known):
        say("signing")
        identity = f"--sign-container-identity={registry.address}"
        registry.cosign("sign", "--recursive", identity, *options, registry.at(image), environment=environment)
    if provenance is None:
        return
    predicate = attachments.statement(provenance)["predicate"]
    if known is not None and predicate in attested(registry, image, known, missing_ok=True):
        return
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(predicate, file)
        file.flush()
        kind = ["--type", "slsaprovenance1", "--predicate", file.name]
        registry.cosign("attest", *kind, *options, registry.at(image), environment=environment)


def _own_verifier(signer: Signer, environment: dict[str, str]) -> Verifier | None:
    """A verifier for the signer's own key; keyless, every signature is one of its own."""
    if signer.key is None:
        return None
    public = Registry("-").cosign("public-key", "--key", str(signer.key), environment=environment)
    path = Path(tempfile.mkdtemp()) / "cosign.pub"
    path.write_text(public)
    return Verifier(path)


def _signed(registry: Registry, image: str, verifier: Verifier) -> bool:
    try:
        registry.cosign("verify", *verifier.options(), registry.at(image))
    except RegistryError as error:
        if not UNSIGNED.search(error.said):
            raise
        return False
    return True


def attested(registry: Registry, image: str, verifier: Verifier, *, missing_ok: bool = False) -> list[Any]:
    """The provenance predicates that the verifier's party has signed for this digest."""
    try:
        lines = registry.cosign(
            "verify-attestation", "--type", "slsaprovenance1", *verifier.options(), registry.at(image)
        ).splitlines()
    except RegistryError as error:
        if not UNSIGNED.search(error.said):
            raise
        if missing_ok:
            return []
        raise RegistryError(f"{registry.address}@{image}: no provenance signed by this party ({error})") from error
    statements = [json.loads(base64.b64decode(json.loads(line)["payload"])) for line in lines if line.strip()]
    digest = image.partition(":")[2]
    return [
        statement["predicate"]
        for statement in statements
        if statement["predicateType"] == PROVENANCE_TYPE
        and digest in [subject["digest"]["sha256"] for subject in statement["subject"]]
    ]


def verify(registry: Registry, image: str, verifier: Verifier) -> list[str]:
    """Check the signature, the signed provenance, and each attachment against it; a line for each thing that held.

    Raises RegistryError on another key, another digest, an attachment that the signed provenance does not name, or
    bytes that are not those of their digest.
    """
    options = verifier.options()
    try:
        registry.cosign("verify", *options, registry.at(image))
    except RegistryError as error:
        if not UNSIGNED.search(error.said):
            raise
        raise RegistryError(f"{registry.address}@{image} is not signed by this party ({error})") from error
    held = ["signature"]
    predicates = attested(registry, image, verifier)
    if not predicates:
        raise RegistryError(f"{registry.address}@{image}: no provenance signed by this party is about this digest")
    held.append("provenance")
    named = {
        f"sha256:{material['digest']['sha256']}": material["name"]
        for predicate in predicates
        for material in predicate["runDetails"].get("byproducts", [])
    }
    present = attachments.listed(registry, image)
    with tempfile.TemporaryDirectory() as folder:
        for number, attachment in enumerate(present):
            path = Path(folder) / f"{number}"
            attachments.blob(registry, attachment, path)
            if attachment.kind == "provenance":
                right = attachments.statement(path)["predicate"] in predicates
            else:
                right = named.get(digest_of(path)) == attachments.FILES[attachment.kind]
            if not right:
                raise RegistryError(
                    f"{registry.address}@{image}: the attached {attachment.kind} {attachment.digest} is not one that "
                    "the signed provenance names"
                )
            held.append(f"{attachment.kind} {attachment.digest}")
    absent = sorted(set(named.values()) - {attachments.FILES[attachment.kind] for attachment in present})
    if absent:
        raise RegistryError(f"{registry.address}@{image}: {', '.join(absent)} of the signed provenance is not attached")
    return held
