#!/bin/bash
# smoke.sh BENCH SERVER: short runs of BENCH (etcdd-bench) against a fresh SERVER (etcd, etcdd), all
# of which must succeed with plausible reports. Exit code 77 (skipped) when SERVER is absent.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/bench/servers.sh
source "$here/servers.sh"

BENCH=$1
server=$2
if ! command -v "$server" >/dev/null; then
  echo "skipped: no server binary '$server'"
  exit 77
fi

work=$(mktemp -d)
trap 'stop_servers; rm -rf "$work"' EXIT

start_server "$server" "$work/data"

# expect FIELD MIN JSON: the field is there and at least MIN.
expect() {
  local value
  value=$(field "$1" "$3")
  if ! awk -v value="$value" -v min="$2" 'BEGIN { exit !(value != "" && value + 0 >= min) }'; then
    echo "FAILED: $1 is '$value', wanted at least $2, in: $3"
    exit 1
  fi
}

# bench ARG...: runs the generator and leaves its report in `report`.
bench() {
  report=$("$BENCH" "$@" --endpoint "$ENDPOINT" --server-pid "$SERVER_PID" --json) || {
    echo "FAILED: $*: $report"
    exit 1
  }
}

bench load --keys 2000
expect ops 2000 "$report"
expect server_rss_kib 1000 "$report"
for op in put range "range --serializable" "range1000 --outstanding 8" txn lease-grant \
  lease-keepalive mixed "watch --outstanding 4" \
  "watch --watchers 20 --streams 10 --connections 5 --puts-per-second 200"; do
  # shellcheck disable=SC2086
  # Any progress will do: this asks whether the report makes sense, not how fast the machine is.
  bench --op $op --keys 2000 --seconds 1 --warmup 0.05
  expect rate 1 "$report"
  expect p50_us 5 "$report"
  expect p99_us "$(field p50_us "$report")" "$report"
  expect max_us "$(field p99_us "$report")" "$report"
  expect client_cpu_us_per_op 0.01 "$report"
  [ "$(field errors "$report")" = 0 ] || { echo "FAILED: errors in $report"; exit 1; }
done
bench compact
expect elapsed_ms 0 "$report"
expect revision 4000 "$report"
stop_server "$SERVER_PID" KILL
start_server "$server" "$work/data"
expect revision 4000 "$("$BENCH" restart-probe --endpoint "$ENDPOINT" --json)"
# A get of a key that is not there must be seen as an error.
if "$BENCH" --op range --endpoint "$ENDPOINT" --keys 1000000 --seconds 0.1 --warmup 0 >/dev/null
then
  echo "FAILED: missing keys went unnoticed"
  exit 1
fi
echo "ok"
