#!/bin/sh
# Write the manual pages and the bash completion that the program prints of its own tables. make install calls it.
#     tools/install_docs.sh MDM MAN-FOLDER COMPLETION-FOLDER
set -eu
mdm=$1 man=$2 completion=$3
"$mdm" --version >/dev/null 2>&1 || { echo "install: $mdm does not run on this machine: no manual pages, no completion" >&2; exit 0; }
mkdir -p "$man" "$completion"
"$mdm" help --man >"$man/mdm.1"
for name in $("$mdm" help | sed -n 's/^  \([a-z][a-z0-9-]*\)  *.*/\1/p'); do
    # Pages follow one another, those of a command's verbs after its own; each starts with .TH and its name.
    "$mdm" help --man "$name" | awk -v folder="$man" '/^\.TH/ { name = $2; gsub(/["\\]/, "", name); file = folder "/" name ".1"
        printf "" >file } { print >file }'
done
"$mdm" help --completion >"$completion/mdm"
