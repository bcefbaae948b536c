#!/bin/sh
# Send an image to `cfa-lite serve` with curl, and print the answer, one line of JSON:
#
#     sh client.sh http://127.0.0.1:8765/inspect image.png
#
# Exit code 0: inspected; 22: not inspected, the line has the reason; others are those of curl.
exec curl --silent --show-error --fail-with-body --max-time 30 \
    --header "Content-Type: application/octet-stream" \
    --header "Authorization: Bearer ${CFA_LITE_TOKEN:-}" \
    --data-binary "@$2" "$1"
