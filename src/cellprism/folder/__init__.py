"""Result folders: written whole, with the checksum of every file, and read by one reader that checks."""

from cellprism.folder.manifest import MANIFEST, owned, verify, write_manifest
from cellprism.folder.reader import FORMAT_VERSION, RunFolder
from cellprism.folder.stage import check_output, staged

__all__ = ["FORMAT_VERSION", "MANIFEST", "RunFolder", "check_output", "owned", "staged", "verify", "write_manifest"]
