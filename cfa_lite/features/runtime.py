"""onnxruntime without telemetry: its official builds send telemetry unless this is disabled before the import.

From version 1.29 on this includes Linux and macOS, with a device identifier that is stored in the home folder
(onnxruntime pull request 27379). Set ORT_DISABLE_TELEMETRY=0 to allow telemetry.
"""

import os

for _name in ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED"):  # the second is an older name of the first
    os.environ.setdefault(_name, "1")

import onnxruntime  # noqa: E402

if os.environ["ORT_DISABLE_TELEMETRY"] != "0":
    onnxruntime.disable_telemetry_events()  # for Windows, and for programs that imported onnxruntime before

__all__ = ["onnxruntime"]
