#!/bin/sh
# Where no cgroup is mounted, a limit that needs one is an error, unless the spec
# lets it go; without limits all works.
# shellcheck disable=SC2034 # the variables of sbx.sh
set -eu
. /vm/lib.sh
. /vm/sbx/sbx.sh

sandbox '' true
expect "no limits" 0 '"kind":"exited"'
sandbox 'memory "32M"' true
expect "memory without cgroups" 125 '"kind":"setup_failed"'
nodes='best-effort "memory"'
sandbox 'memory "32M"' true
expect "memory at best effort" 0 '"feature":"memory"'
echo "none: limits fail closed without cgroups"
