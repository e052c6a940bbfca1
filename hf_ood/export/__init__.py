"""Trained networks as files that run without PyTorch."""

from .onnx_file import DESCRIPTION_FILE, ONNX_FILE, Exported, export_onnx

__all__ = ["DESCRIPTION_FILE", "ONNX_FILE", "Exported", "export_onnx"]
