"""The commands; `trainers/*.py` are thin scripts over these functions."""
