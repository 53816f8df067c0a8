"""``python -m cellprism``: the command line, where the script is not on the path."""

from cellprism.cli import main

if __name__ == "__main__":
    main()
