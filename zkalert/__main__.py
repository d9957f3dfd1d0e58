"""The command `zkalert`, also as `python -m zkalert`: nothing but the import, which Ctrl-C may come into."""

import sys


def main() -> None:
    """The console script."""
    try:
        from zkalert.cli import main as run  # noqa: PLC0415 - so that an interrupt meanwhile is no traceback

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
