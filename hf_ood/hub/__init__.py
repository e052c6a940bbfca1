"""Cards, and pushing a run to the Hub."""

from .model_card import build_model_card, write_model_card
from .push import push

__all__ = ["build_model_card", "push", "write_model_card"]
