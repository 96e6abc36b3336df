"""Fetch the chart libraries that the report bundles: Observable Plot and D3, at pinned versions, with their licences.

Run from anywhere, with npm installed and its registry in reach: ``python scripts/vendor_charts.py``. Archives whose
contents differ from the pinned ones are refused. To upgrade, change PACKAGES: ``npm view NAME@VERSION dist.integrity``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

VENDOR = Path(__file__).resolve().parent.parent / "src" / "entroshape" / "report" / "vendor"

PACKAGES = {
    "d3@7.9.2": (
        "sha512-ZKb/mONPVKzaO5UlcWcwN8bS4ezvQaYu+bsou+XgNABdGC800kwH651ADTbbTxMPHW13UlvbQafdmJQDk1w7Mg==",
        {"dist/d3.min.js": "d3.min.js", "LICENSE": "LICENSE.d3"},
    ),
    "@observablehq/plot@0.6.17": (
        "sha512-/qaXP/7mc4MUS0s4cPPFASDRjtsWp85/TbfsciqDgU1HwYixbSbbytNuInD8AcTYC3xaxACgVX06agdfQy9W+g==",
        {"dist/plot.umd.min.js": "plot.umd.min.js", "LICENSE": "LICENSE.plot"},
    ),
    # Plot's file holds these three.
    "interval-tree-1d@1.0.4": (
        "sha512-wY8QJH+6wNI0uh4pDQzMvl+478Qh7Rl4qLmqiluxALlNvl+I+o5x38Pw3/z7mDPTPS1dQalZJXsmbvxx5gclhQ==",
        {"LICENSE": "LICENSE.interval-tree-1d"},
    ),
    "binary-search-bounds@2.0.5": (
        "sha512-H0ea4Fd3lS1+sTEB2TgcLoK21lLhwEJzlQv3IN47pJS976Gx4zoWe0ak3q+uYh60ppQxg9F16Ri4tS1sfD4+jA==",
        {"LICENSE": "LICENSE.binary-search-bounds"},
    ),
    "isoformat@0.2.1": (
        "sha512-tFLRAygk9NqrRPhJSnNGh7g7oaVWDwR0wKh/GM2LgmPa50Eg4UfyaCO4I8k6EqJHl1/uh2RAD6g06n5ygEnrjQ==",
        {"LICENSE": "LICENSE.isoformat"},
    ),
}
"""For each package: npm's hash of its archive, and where its files go."""


def main() -> None:
    VENDOR.mkdir(parents=True, exist_ok=True)
    sources = {}
    for package, (integrity, files) in PACKAGES.items():
        with tempfile.TemporaryDirectory() as folder:
            command = ["npm", "pack", "--silent", "--pack-destination", folder, package]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            (archive,) = Path(folder).glob("*.tgz")
            found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
            if found != integrity:
                raise SystemExit(f"{package}: expected {integrity}, got {found}")
            with tarfile.open(archive) as tar:
                for inside, name in files.items():
                    member = tar.extractfile(f"package/{inside}")
                    assert member is not None  # listed above
                    content = member.read()
                    (VENDOR / name).write_bytes(content)
                    sources[name] = {"package": package, "sha256": hashlib.sha256(content).hexdigest()}
                    print(f"{name}: {len(content):,} bytes of {package}")
    (VENDOR / "SOURCES.json").write_text(json.dumps(sources, indent=2) + "\n")


if __name__ == "__main__":
    main()
