#!/bin/bash
# Installs a release of sbx into a directory of this job and puts it on the PATH of the steps that follow. Reads
# SBX_RELEASES, SBX_VERSION, RUNNER_TEMP and GITHUB_PATH; nothing is executed that its checksum does not name.
set -euo pipefail

case "$(uname -s)-$(uname -m)" in
Linux-x86_64) archive=sbx-x86_64-linux.tar.gz ;;
*)
    echo "::error::sbx has no release for $(uname -s) on $(uname -m)"
    exit 1
    ;;
esac
case "$SBX_VERSION" in
latest) from="$SBX_RELEASES/latest/download" ;;
*) from="$SBX_RELEASES/download/$SBX_VERSION" ;;
esac

place="$RUNNER_TEMP/sbx"
mkdir -p "$place"
cd "$place"
for name in "$archive" SHA256SUMS; do
    curl --fail --silent --show-error --location --retry 3 --output "$name" "$from/$name"
done
# Without a line for this archive nothing would be checked.
grep -F "  $archive" SHA256SUMS >wanted
sha256sum --check --strict --quiet wanted
tar -xzf "$archive" sbx
./sbx --version
echo "$place" >>"$GITHUB_PATH"
