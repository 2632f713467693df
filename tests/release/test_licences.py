"""Licences: an expression is judged by its structure, a component by all that it states."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from release.artifacts import InputError
from release.licences import judge, of_sbom

from .conftest import Change, failed

DENIED = ["AGPL-*", "SSPL-*", "CC-BY-NC-*", "*Affero*"]


@pytest.mark.parametrize(
    ("expression", "verdict"),
    [
        # REVIEW 2: these were let through
        ("AGPL-3.0-only AND (MIT OR BSD-3-Clause)", "denied"),
        ("MIT and AGPL-3.0-only", "denied"),
        ("agpl-3.0-only", "denied"),
        ("GNU AGPLv3", "denied"),
        ("GNU AGPLv3 or later", "denied"),
        ("GNU Affero General Public License", "denied"),
        ("AGPL-3+ or MIT", "allowed"),  # and this was denied
        ("MIT", "allowed"),
        ("mit", "allowed"),
        ("Apache-2.0 OR AGPL-3.0-only", "allowed"),
        ("(MIT OR AGPL-3.0-only) AND SSPL-1.0", "denied"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "allowed"),
        ("AGPL-3.0-only WITH Classpath-exception-2.0", "denied"),
        ("AGPL-3.0+", "denied"),
        ("AGPL-3.0-only OR LicenseRef-x", "denied"),
        ("LicenseRef-other OR MIT", "allowed"),
        ("LicenseRef-other AND MIT", "unknown"),
        ("BSD License", "unknown"),  # it parses, as a name
        ("BSD License AND MIT", "unknown"),
        ("MIT/Apache-2.0", "unknown"),
        ("MIT/AGPL-3.0", "denied"),
        ("MIT AND", "unknown"),
        ("AGPL-3.0 AND", "denied"),
        ("Apache 2.0", "allowed"),
        ("CC BY-NC 4.0", "denied"),
        ("", "unknown"),
        ("  ", "unknown"),
    ],
)
def test_an_expression(expression: str, verdict: str) -> None:
    assert judge(expression, DENIED) == verdict


LEAVES = st.sampled_from(
    ["MIT", "BSD-3-Clause", "AGPL-3.0-only", "agpl-3.0-or-later", "SSPL-1.0", "LicenseRef-x", "Some Text"]
)
TREES = st.recursive(
    LEAVES, lambda inner: st.tuples(st.sampled_from(["AND", "OR", "and", "Or"]), inner, inner), max_leaves=6
)


def permitted(tree: Any) -> bool:
    """Whether one can comply without anything that is denied or unknown."""
    if isinstance(tree, str):
        return tree in ("MIT", "BSD-3-Clause")
    both = [permitted(part) for part in tree[1:]]
    return all(both) if tree[0].upper() == "AND" else any(both)


def text(tree: Any) -> str:
    return tree if isinstance(tree, str) else f"({text(tree[1])} {tree[0]} {text(tree[2])})"


@settings(deadline=None)
@given(TREES)
def test_no_form_of_an_expression_passes_that_should_not(tree: Any) -> None:
    assert (judge(text(tree), DENIED) == "allowed") == permitted(tree)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_a_denied_name_is_found_in_any_text(around: str) -> None:
    assert judge(f"{around} AGPLv3", DENIED) != "allowed" or " or " in f" {around} ".lower()


DEBIAN = {"purl": "pkg:deb/debian/libx@1?distro=debian-13"}
BY_HAND = {"onnxruntime": {"stated": "MIT License", "expression": "MIT", "reason": "its LICENSE file"}}


@pytest.mark.parametrize(
    ("component", "verdict"),
    [
        ({"licenses": [{"license": {"id": "MIT"}}, {"license": {"id": "AGPL-3.0-only"}}]}, "denied"),
        ({"licenses": [{"expression": "MIT OR Apache-2.0"}, {"license": {"id": "AGPL-3.0-only"}}]}, "denied"),
        ({"licenses": [{"license": {"id": "MIT"}}, {"license": {"name": "Some"}}]}, "unknown"),
        ({"licenses": []}, "unknown"),
        ({}, "unknown"),
        ({"licenses": "MIT"}, "unknown"),
        ({"licenses": ["MIT"]}, "unknown"),
        ({"name": "ONNX_Runtime".replace("_", "")}, "unknown"),
        ({"name": "OnnxRuntime", "licenses": [{"license": {"name": "MIT License"}}]}, "allowed"),
        # another text than the one that was looked at
        ({"name": "onnxruntime", "licenses": [{"license": {"name": "Commercial"}}]}, "unknown"),
        ({"name": "onnxruntime", "licenses": [{"license": {"id": "AGPL-3.0-only"}}]}, "denied"),
        ({**DEBIAN, "licenses": [{"license": {"name": "public-domain"}}, {"license": {"name": "GPL-2+"}}]}, "allowed"),
        ({**DEBIAN, "licenses": [{"license": {"name": "public-domain"}}, {"license": {"name": "AGPL-3+"}}]}, "denied"),
        ({**DEBIAN, "licenses": [{"license": {"name": "AGPL-3+ or Expat"}}]}, "denied"),
        (DEBIAN, "allowed"),
        ({"type": "data", "licenses": [{"license": {"name": "the owner's own"}}]}, "allowed"),
        ({"type": "data", "licenses": [{"license": {"name": "CC BY-NC 4.0"}}]}, "denied"),
        ({"type": "data"}, "unknown"),
        ({"type": "machine-learning-model"}, "unknown"),
    ],
)
def test_a_component(component: dict[str, Any], verdict: str) -> None:
    (found,) = of_sbom({"components": [component]}, DENIED, BY_HAND)
    assert found.verdict == verdict


def test_each_component_counts_also_of_one_name() -> None:
    same = [{"name": "same", "licenses": [{"license": {"id": licence}}]} for licence in ("AGPL-3.0-only", "MIT")]
    assert [one.verdict for one in of_sbom({"components": same}, DENIED, {})] == ["denied", "allowed"]


@pytest.mark.parametrize(
    "entry",
    [
        {"stated": "", "expression": "MIT"},
        {"stated": "", "expression": "MIT", "reason": " "},
        {"stated": "", "expression": "MIT License", "reason": "so"},
        {"stated": "", "expression": "MIT", "reason": "so", "until": "2030"},
        "MIT",
    ],
)
def test_a_licence_by_hand_needs_all_its_parts(entry: Any) -> None:
    with pytest.raises(InputError, match=r"licences\.x"):
        of_sbom({}, (), {"x": entry})


def test_the_gate_names_what_is_wrong(change: Change) -> None:
    components = [{"name": "a", "licenses": [{"license": {"id": "AGPL-3.0-only"}}]}, {"name": "b"}]
    assert failed(change("image/sbom.cdx.json", components=components)) == ["licences"]
    assert failed(change("image/sbom.cdx.json", components=[])) == ["licences"]
