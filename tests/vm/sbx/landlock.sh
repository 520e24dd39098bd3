#!/bin/sh
# On an older kernel Landlock holds what it can, the report says how much that was, and a
# rule of the spec that it cannot hold is refused, unless the spec lets it go.
# shellcheck disable=SC2034 # the variables of sbx.sh
set -eu
. /vm/lib.sh
. /vm/sbx/sbx.sh

sandbox '' sh -c 'mkdir /tmp/a /tmp/b; : >/tmp/a/f; ln /tmp/a/f /tmp/b/f'
expect "the version of the kernel" 0 '"landlock":{"abi":2,"status":"partial"}' '"weakened":[]'

nodes='landlock { execute "/"; read "/"; }'
sandbox '' sh -c ': >/tmp/f; ln /tmp/f /run/f 2>/dev/null; mkdir /tmp/d; ln /tmp/f /tmp/d/f'
expect "rules that it can hold" 0 '"landlock":{"abi":2,"status":"partial"}'

for rule in 'write "/tmp"' 'connect 80' 'bind 80'; do
    nodes="landlock { $rule; }"
    sandbox '' true
    expect "$rule" 125 '"kind":"setup_failed"'
    has_part "$rule" "$said" 'and this kernel has 2'
    nodes="landlock { $rule; }
best-effort \"landlock\""
    sandbox '' true
    expect "$rule at best effort" 0 '"status":"partial"' '"feature":"landlock"'
done

nodes='landlock { read "/usr" "/bin" "/lib" "/sbin"; }'
sandbox '' sh -c 'cat /etc/passwd'
expect "a rule that is held" 1
has_part "a rule that is held" "$said" 'Permission denied'
echo "landlock: version 2 is used and told"
