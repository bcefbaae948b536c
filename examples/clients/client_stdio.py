"""Start `cfa-lite serve --stdio` and ask it about images, without a port. Runs on Python 2.7 and on Python 3.

    python client_stdio.py CFA-LITE part.cfa image.png...

CFA-LITE is the path of the command, which may belong to another Python. Prints a line per image.
"""

from __future__ import print_function

import json
import subprocess
import sys


class Inspector(object):
    """A process that inspects images until it is closed."""

    def __init__(self, command, part):
        self.process = subprocess.Popen(
            [command, "serve", part, "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def inspect(self, path):
        """Return the answer as a dict."""
        self.process.stdin.write(json.dumps({"path": path}).encode("ascii") + b"\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("cfa-lite has ended; its messages are on stderr")
        return json.loads(line.decode("ascii"))

    def close(self):
        """End the process."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


if __name__ == "__main__":
    inspector = Inspector(sys.argv[1], sys.argv[2])
    for image in sys.argv[3:]:
        found = inspector.inspect(image)
        print(found.get("verdict", "ERROR"), json.dumps(found.get("score")), found.get("error", ""))
    inspector.close()
