"""Splits that hashes decide: what belongs together stays together, and no other row changes where it goes."""

from __future__ import annotations

import hashlib

SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}


def split_by_hash(key: str) -> str:
    """`train`, `validation` or `test`, in the shares, of all rows with this key."""
    position, bound = int(digest(key)[:8], 16) / 16**8, 0.0
    for split, share in SHARES.items():
        bound += share
        if position < bound:
            return split
    return list(SHARES)[-1]


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
