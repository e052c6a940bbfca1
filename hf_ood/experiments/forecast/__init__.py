"""How well a finished run will work at a site without labels: its spec, tried on each environment in turn."""
