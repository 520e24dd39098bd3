#!/bin/sh
# Runs the scripts with the given names, all of them, also after one that failed.
failed=
for name in "$@"; do
    sh "/vm/sbx/$name.sh" || failed="$failed $name"
done
[ -z "$failed" ] || {
    echo "failed:$failed" >&2
    exit 1
}
