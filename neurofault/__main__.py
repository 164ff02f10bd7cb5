"""``python -m neurofault``: the command line."""

from neurofault.cli.app import main

if __name__ == "__main__":  # not where a worker process takes this module over
    main()
