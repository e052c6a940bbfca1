"""Out-of-distribution generalisation for the Hugging Face ecosystem."""

from .moved import find_old_names

find_old_names()

from .data import ColoredMNIST, EnvironmentDataset, EnvironmentSampler, RandomColor, load_colored_mnist
from .discovery import EIIL, KMeansEnvironments, RandomEnvironments, write_environments
from .methods.averaging import EMA, SWA, SWAD
from .methods.losses import CrossEntropy, SampleLoss
from .methods.masking import RSC, MixStyle
from .methods.mixing import LISA, Mixup
from .methods.objectives import (
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
from .methods.updates import IGA, MLDG, SAM, ANDMask, Fish, SANDMask
from .models import (
    DisentangledVAEConfig,
    DisentangledVAEForImageClassification,
    LeNetConfig,
    LeNetForImageClassification,
    LeNetImageProcessor,
    LinearConfig,
    LinearForImageClassification,
    MLPConfig,
    MLPForImageClassification,
    SmallResNetConfig,
    SmallResNetForImageClassification,
)
from .trainer import (
    EnvironmentOptions,
    EnvironmentTrainer,
    IRMRSCTrainer,
    IRMTrainer,
    OODConfig,
    OODTrainer,
    RSCTrainer,
    register,
)

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
    "CrossEntropy",
    "DisentangledVAEConfig",
    "DisentangledVAEForImageClassification",
    "EnvironmentDataset",
    "EnvironmentOptions",
    "EnvironmentSampler",
    "EnvironmentTrainer",
    "Fish",
    "Fishr",
    "GroupDRO",
    "IRMRSCTrainer",
    "IRMTrainer",
    "KMeansEnvironments",
    "LeNetConfig",
    "LeNetForImageClassification",
    "LeNetImageProcessor",
    "LinearConfig",
    "LinearForImageClassification",
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
    "SampleLoss",
    "SmallResNetConfig",
    "SmallResNetForImageClassification",
    "SupCon",
    "VREx",
    "load_colored_mnist",
    "register",
    "write_environments",
]
