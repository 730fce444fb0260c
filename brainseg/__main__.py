"""`python -m brainseg`: the same as the command `brainseg`."""

from brainseg.cli import main

main()
