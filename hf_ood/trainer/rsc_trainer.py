"""RSC as a named trainer."""

from ..methods.masking import RSC
from .ood_trainer import OODTrainer


class RSCTrainer(OODTrainer):
    """`OODTrainer` whose feature transform is RSC: it acts in the forward pass. Arguments as there."""

    feature_transform_class = RSC
