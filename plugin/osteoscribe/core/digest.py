"""The digest of received bytes: BLAKE3, 32 bytes, a quarter of SHA-256's time (docs/decisions/081)."""

from __future__ import annotations

from blake3 import blake3 as new_digest

__all__ = ["new_digest"]
