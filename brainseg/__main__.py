"""`python -m brainseg`, and the command `brainseg`."""

from brainseg.interrupt import leaving_at_once


def main() -> None:
    """Run the command line."""
    with leaving_at_once():
        from brainseg.cli import main as run
    run()


if __name__ == "__main__":
    main()
