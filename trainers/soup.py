"""Average the weights of finished runs. `python trainers/soup.py --help` tells all."""

from hf_ood.cli.soup import main

if __name__ == "__main__":
    main()
