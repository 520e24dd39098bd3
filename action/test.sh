#!/bin/bash
# Runs `sbx test` as the inputs of the action say. Reads SBX_PATHS, SBX_ARGS, SBX_JUNIT and GITHUB_OUTPUT; the
# annotations and the summary of the job are sbx's own.
set -euo pipefail

# Words as a shell splits them, over several lines and with quotes, but nothing in them is expanded or executed.
words() { xargs -r printf '%s\0' <<<"$1"; }
mapfile -d '' -t paths < <(words "${SBX_PATHS:-.}")
wait "$!"
mapfile -d '' -t args < <(words "${SBX_ARGS:-}")
wait "$!"
echo "junit=$SBX_JUNIT" >>"$GITHUB_OUTPUT"
exec sbx test --junit "$SBX_JUNIT" "${args[@]}" -- "${paths[@]}"
