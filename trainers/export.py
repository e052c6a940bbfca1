"""Write a finished run's network as an ONNX file. `python trainers/export.py --help` tells all."""

from hf_ood.cli.export import main

if __name__ == "__main__":
    main()
