#!/bin/bash
# canned_limit.sh BENCH CANNED_SERVER: how fast the generator goes against a server that does
# nothing, per combination of connections and outstanding requests. One JSON line each.
set -euo pipefail

coproc canned { exec "$2"; }
read -r endpoint <&"${canned[0]}"
for shape in "1 1" "8 64" "8 1000" "1 1000" "64 64"; do
  read -r connections outstanding <<<"$shape"
  "$1" --op put --connections "$connections" --outstanding "$outstanding" --seconds 1 \
    --endpoint "$endpoint" --server-pid "$canned_PID" --json
done
