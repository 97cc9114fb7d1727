"""The file system that all protocols share: virtual paths, mounts, permissions, backends and streams."""
