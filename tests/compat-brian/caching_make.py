"""A make that compiles no model twice: as its first argument it is given a folder in which it keeps programs.

Which program it is, is known from all sources, as farmhand_brian itself knows it. So many tests can have a
run of their own, and pay for one compilation.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from farmhand_brian.compiling import fingerprint

if __name__ == "__main__":
    cache, *arguments = sys.argv[1:]
    program = Path(cache, fingerprint(Path.cwd()))
    with open(f"{program}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if program.exists():
            shutil.copy2(program, "main")
        else:
            subprocess.run(["make", *arguments], check=True)
            shutil.copy2("main", f"{program}.{os.getpid()}")
            os.replace(f"{program}.{os.getpid()}", program)
