"""Methods x held-out environments x hyper-parameters x seeds, and what honest selection makes of them."""
