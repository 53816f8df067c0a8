"""The run folder: written whole or not at all, read by every later step."""

from cellprism.folder import FORMAT_VERSION, RunFolder, check_output, staged

__all__ = ["FORMAT_VERSION", "RunFolder", "check_output", "staged"]
