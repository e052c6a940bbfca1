"""The evidence on a finished run in one document. `python trainers/dossier.py --help` tells all."""

from hf_ood.cli.dossier import main

if __name__ == "__main__":
    main()
