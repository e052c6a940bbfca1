"""Out-of-distribution generalisation for the Hugging Face ecosystem."""

from .averaging import EMA, SWA, SWAD
from .data import ColoredMNIST, EnvironmentDataset, EnvironmentSampler, RandomColor, load_colored_mnist
from .discovery import EIIL, KMeansEnvironments, RandomEnvironments, write_environments
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
from .updates import IGA, MLDG, SAM, ANDMask, Fish, SANDMask

__version__ = "0.1.0"

__all__ = [
    "CDANN",
    "CORAL",
    "DANN",
    "EIIL",
    "EMA",
    "EQRM",
    "ERM",
    "IBERM",
    "IBIRM",
    "IGA",
    "IRM",
    "LISA",
    "MLDG",
    "MMD",
    "RSC",
    "SAM",
    "SD",
    "SWA",
    "SWAD",
    "ANDMask",
    "CVaR",
    "ColoredMNIST",
    "DisentangledVAEConfig",
    "DisentangledVAEForImageClassification",
    "EnvironmentDataset",
    "EnvironmentSampler",
    "Fish",
    "Fishr",
    "GroupDRO",
    "IRMRSCTrainer",
    "IRMTrainer",
    "KMeansEnvironments",
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
    "RandomEnvironments",
    "SANDMask",
    "SmallResNetConfig",
    "SmallResNetForImageClassification",
    "SupCon",
    "VREx",
    "load_colored_mnist",
    "write_environments",
]
