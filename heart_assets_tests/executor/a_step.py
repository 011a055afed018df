"""A step for the tests of processes: prints, leaves a child behind, and does what its argument says."""

import os
import subprocess
import sys

if __name__ == "__main__":
    print("\n".join(f"line {number}" for number in range(30)), flush=True)
    print(os.environ["CUDA_VISIBLE_DEVICES"], os.environ["SAY"], subprocess.Popen(["sleep", "60"]).pid, flush=True)
    exec(sys.argv[1])
