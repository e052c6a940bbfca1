"""Cards; pushing follows."""

from .model_card import build_model_card, write_model_card

__all__ = ["build_model_card", "write_model_card"]
