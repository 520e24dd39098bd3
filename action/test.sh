#!/bin/bash
# Runs `sbx test` as the inputs of the action say. Reads SBX_PATHS, SBX_ARGS, SBX_JUNIT and GITHUB_OUTPUT; the
# annotations and the summary of the job are sbx's own.
set -euo pipefail

# Words, not text: several paths and flags, never a pattern.
set -f
read -ra paths <<<"${SBX_PATHS:-.}"
read -ra args <<<"${SBX_ARGS:-}"
echo "junit=$SBX_JUNIT" >>"$GITHUB_OUTPUT"
exec sbx test --junit "$SBX_JUNIT" "${args[@]}" -- "${paths[@]}"
