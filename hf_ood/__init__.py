"""Out-of-distribution generalisation for the Hugging Face ecosystem."""

from .data import ColoredMNIST, EnvironmentDataset, EnvironmentSampler, RandomColor, load_colored_mnist
from .masking import RSC
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
    "EQRM",
    "ERM",
    "IBERM",
    "IBIRM",
    "IRM",
    "MMD",
    "RSC",
    "SD",
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
