"""Send an image to `cfa-lite serve`. Runs on Python 2.7 and on Python 3, with the standard library only.

    python client_http.py http://127.0.0.1:8765/inspect image.png

Prints the verdict and the score. Exit code 0: OK or UNSURE, 3: NG, 4: not inspected.
"""

from __future__ import print_function

import json
import os
import sys

try:
    from urllib2 import HTTPError, Request, urlopen
except ImportError:
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen


def inspect(url, path, timeout=30):
    """Return the answer as a dict. It has the field "error" if the image was not inspected."""
    with open(path, "rb") as file:
        content = file.read()
    headers = {"Content-Type": "application/octet-stream"}
    if os.environ.get("CFA_LITE_TOKEN"):
        headers["Authorization"] = "Bearer " + os.environ["CFA_LITE_TOKEN"]
    try:
        response = urlopen(Request(url, content, headers), timeout=timeout)
    except HTTPError as error:  # the answer has the reason
        response = error
    try:
        return json.loads(response.read().decode("utf-8"))
    finally:
        response.close()


if __name__ == "__main__":
    found = inspect(sys.argv[1], sys.argv[2])
    if "error" in found:
        print("ERROR", found["error"])
        sys.exit(4)
    print(found["verdict"], json.dumps(found["score"]))  # all digits, also in Python 2
    sys.exit({"OK": 0, "UNSURE": 0, "NG": 3}.get(found["verdict"], 4))
