"""Out-of-distribution generalisation for the Hugging Face ecosystem."""

from .averaging import EMA, SWA, SWAD
from .data import ColoredMNIST, EnvironmentDataset, EnvironmentSampler, RandomColor, load_colored_mnist
from .masking import RSC, MixStyle
from .mixing import LISA, Mixup
from .models import (
    DisentangledVAEConfig,
    DisentangledVAEForImageClassification,
    LeNetConfig,
    LeNetForImageClassification,
    LeNetImageProcessor,
    MLPConfig,
    MLPForImageClassification,
    SmallResNetConfig,
    SmallResNetForImageClassification,
)
from .objectives import (
    CDANN,
    CORAL,
    DANN,
    EQRM,
    ERM,
    IBERM,
    IBIRM,
    IRM,
    MMD,
    SD,
    CVaR,
    Fishr,
    GroupDRO,
    SupCon,
    VREx,
)
from .trainer import IRMRSCTrainer, IRMTrainer, OODConfig, OODTrainer, RSCTrainer

__version__ = "0.1.0"

__all__ = [
    "CDANN",
    "CORAL",
    "DANN",
    "EMA",
    "EQRM",
    "ERM",
    "IBERM",
    "IBIRM",
    "IRM",
    "LISA",
    "MMD",
    "RSC",
    "SD",
    "SWA",
    "SWAD",
    "CVaR",
    "ColoredMNIST",
    "DisentangledVAEConfig",
    "DisentangledVAEForImageClassification",
    "EnvironmentDataset",
    "EnvironmentSampler",
    "Fishr",
    "GroupDRO",
    "IRMRSCTrainer",
    "IRMTrainer",
    "LeNetConfig",
    "LeNetForImageClassification",
    "LeNetImageProcessor",
    "MLPConfig",
    "MLPForImageClassification",
    "MixStyle",
    "Mixup",
    "OODConfig",
    "OODTrainer",
    "RSCTrainer",
    "RandomColor",
    "SmallResNetConfig",
    "SmallResNetForImageClassification",
    "SupCon",
    "VREx",
    "load_colored_mnist",
]
