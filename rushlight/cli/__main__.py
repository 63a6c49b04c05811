"""``python -m rushlight.cli``: the command line without the installed script."""

from rushlight.cli import main

raise SystemExit(main())
