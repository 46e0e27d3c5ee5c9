"""Lets `python -m farebox` be the `farebox` command."""

from farebox.cli.main import main

if __name__ == "__main__":
    main()
