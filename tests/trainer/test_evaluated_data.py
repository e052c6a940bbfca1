"""What evaluations and predictions are of: environments and classes by name, labels or none, any data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_args, make_dataset, make_model
from datasets import ClassLabel, Dataset, Features, Image, Value
from PIL import Image as PILImage
from transformers import MLPConfig if False else None
