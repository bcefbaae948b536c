"""onnxruntime, told to send nothing: its official builds upload telemetry unless they are told so before they load.

From 1.29 on also on Linux and macOS, with a device identifier that they keep in the home folder (onnxruntime pull
request 27379). Whoever wants it sets ORT_DISABLE_TELEMETRY=0.
"""

import os

for _name in ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED"):  # the second is an earlier name of it
    os.environ.setdefault(_name, "1")

import onnxruntime  # noqa: E402

if os.environ["ORT_DISABLE_TELEMETRY"] != "0":
    onnxruntime.disable_telemetry_events()  # Windows, and where somebody loaded it before us

__all__ = ["onnxruntime"]
