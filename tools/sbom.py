"""`make sbom`: what each package of ours carries, from its lock, as CycloneDX JSON under dist/sbom/."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import Requirement

from farebox import __version__

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "dist" / "sbom"

LAMBDA: Mapping[str, str] = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "aarch64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.13.0",
    "python_version": "3.13",
    "sys_platform": "linux",
}
"""Where the layers run: what a marker of a lock is asked with."""

PACKAGES: Mapping[str, tuple[str, Mapping[str, str] | None]] = {
    "proxy": ("the layer of the proxy function", LAMBDA),
    "functions": ("the layer of the functions beside the proxy", LAMBDA),
    "runtime": ("the gateway on one machine, whichever it is", None),
}
"""By lock: what it goes into, and where that runs. None keeps what any platform may need."""

_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Pin:
    """One package of a lock. Each hash is of one of its distributions; an installation takes one of them."""

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def version(self) -> str:
        """Give the only version that is allowed."""
        [specifier] = self.requirement.specifier
        return specifier.version


def pins(lock: str, environment: Mapping[str, str] | None) -> list[Pin]:
    """Read what a lock pins for an environment, or for all. Raises `ValueError` for one without a hash."""
    found = []
    for line in lock.replace("\\\n", " ").splitlines():
        text = line.split("#")[0].strip()
        if not text:
            continue
        pin = Pin(Requirement(_HASH.sub("", text).strip()), tuple(_HASH.findall(text)))
        if not pin.hashes:
            raise ValueError(f"{pin.requirement.name} has no hash")
        marker = pin.requirement.marker
        if environment is None or marker is None or marker.evaluate(dict(environment)):
            found.append(pin)
    return found


def document(name: str, lock: str) -> str:
    """Write the document of a package. The same lock and version give the same bytes."""
    purpose, environment = PACKAGES[name]
    ours = Component(
        type=ComponentType.APPLICATION,
        name=f"farebox-{name}",
        version=__version__,
        bom_ref=f"farebox-{name}",
        description=f"farebox: {purpose}",
        licenses=[DisjunctiveLicense(id="Apache-2.0")],
    )
    theirs = [_component(pin) for pin in pins(lock, environment)]
    bom = Bom(components=theirs, serial_number=uuid5(NAMESPACE_URL, f"farebox {name} {__version__}\n{lock}"))
    bom.metadata.component = ours
    # The moment is left out, so that a document changes only with what it lists.
    bom.metadata.timestamp = None  # type: ignore[assignment]  # as its own command-line tool does
    bom.register_dependency(ours, theirs)
    text = JsonV1Dot6(bom).output_as_string(indent=2)
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ValueError(f"not CycloneDX: {error}")
    return text + "\n"


def _component(pin: Pin) -> Component:
    name = pin.requirement.name
    purl = PackageURL("pypi", name=name, version=pin.version)
    distributions = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(purl.to_string()),
        comment="one of these is installed",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=content) for content in pin.hashes],
    )
    return Component(
        name=name,
        version=pin.version,
        bom_ref=purl.to_string(),
        purl=purl,
        external_references=[distributions],
    )


def main() -> None:
    """Write every document and say where."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in PACKAGES:
        path = FOLDER / f"{name}.cdx.json"
        path.write_text(document(name, (ROOT / "requirements" / f"{name}.txt").read_text()))
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
