"""`python -m swath` is the command line."""

from swath.cli.main import main

if __name__ == "__main__":
    main()
