"""``python -m router``."""

from router.cli import main

if __name__ == "__main__":  # a worker process that converts imports this module too
    main()
