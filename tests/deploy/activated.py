"""The real program as systemd starts it behind a socket unit.

``python -m tests.deploy.activated DESCRIPTOR run …`` is ``python -m router run …`` with that listening socket as its
descriptor 3, and the two variables of sd_listen_fds(3).
"""

import os
import sys

if __name__ == "__main__":
    os.dup2(int(sys.argv[1]), 3)
    handed_over = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "dicom-router.socket"}
    os.execve(sys.executable, [sys.executable, "-m", "router", *sys.argv[2:]], {**os.environ, **handed_over})
