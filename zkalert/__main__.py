"""`python -m zkalert` is the command `zkalert`."""

from zkalert.cli import main

main()
