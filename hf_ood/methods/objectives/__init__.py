"""What is minimised. A new objective is one file here, and its name in `OBJECTIVES`."""

from .base import Objective, Outputs, Sums, risks
from .causirl import CausIRL
from .cdann import CDANN
from .coral import CORAL
from .cvar import CVaR
from .dann import DANN
from .eqrm import EQRM
from .erm import ERM
from .fishr import Fishr
from .group_dro import GroupDRO
from .ib_erm import IBERM
from .ib_irm import IBIRM
from .irm import IRM
from .miro import MIRO
from .mmd import MMD
from .rdm import RDM
from .reweighting import Reweighting
from .sagnet import SagNet
from .sample_cvar import SampleCVaR
from .sd import SD
from .supcon import SupCon
from .vrex import VREx

OBJECTIVES: dict[str, type[Objective]] = {
    cls.name: cls
    for cls in (
        *(
            ERM,
            IRM,
            VREx,
            GroupDRO,
            CVaR,
            SampleCVaR,
            Reweighting,
            EQRM,
            IBERM,
            IBIRM,
            SD,
            CORAL,
            CausIRL,
            MMD,
            RDM,
            Fishr,
        ),
        *(DANN, CDANN, SupCon, SagNet, MIRO),
    )
}

__all__ = [
    "CDANN",
    "CORAL",
    "DANN",
    "EQRM",
    "ERM",
    "IBERM",
    "IBIRM",
    "IRM",
    "MIRO",
    "MMD",
    "OBJECTIVES",
    "RDM",
    "SD",
    "CVaR",
    "CausIRL",
    "Fishr",
    "GroupDRO",
    "Objective",
    "Outputs",
    "Reweighting",
    "SagNet",
    "SampleCVaR",
    "Sums",
    "SupCon",
    "VREx",
    "risks",
]
