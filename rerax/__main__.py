"""`python -m rerax`, where the console script is not on the path."""

from rerax.cli import entry

if __name__ == "__main__":
    entry()
