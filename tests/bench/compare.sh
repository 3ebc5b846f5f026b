#!/bin/bash
# compare.sh [--quick]: etcd and etcdd side by side on this machine, as Markdown tables on stdout;
# progress goes to stderr. README.md says what is measured and how to read it.
#
# Environment (defaults in brackets)
#   ETCD, ETCDD, BENCH  binaries [etcd of the PATH; those of build/release]
#   ROUNDS              interleaved rounds, of which medians are shown [3]
#   LARGE_ROUNDS        the same for the large section [1]
#   SECONDS_PER_ROW     measured time of a row [2], after WARMUP [0.5]
#   KEYS                keys of the small sections [100000]
#   SIZE                keys of the large section [1000000]
#   SECTIONS            which to run [put txn lease watch read mixed large]
#   BENCH_DIR           where data directories are made; must be a real disk [/var/tmp]
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tests/bench/servers.sh
source "$here/servers.sh"

if [ "${1:-}" = --quick ]; then
  : "${ROUNDS:=1}" "${SECONDS_PER_ROW:=0.3}" "${WARMUP:=0.1}" "${KEYS:=10000}" "${SIZE:=20000}"
elif [ $# -gt 0 ]; then
  sed -n '2,/^set/{/^#/p}' "$0" >&2
  exit 1
fi
: "${ETCD:=etcd}" "${ETCDD:=$root/build/release/cmd/etcdd/etcdd}"
: "${BENCH:=$root/build/release/cmd/etcdd-bench/etcdd-bench}"
: "${ROUNDS:=3}" "${LARGE_ROUNDS:=1}" "${SECONDS_PER_ROW:=2}" "${WARMUP:=0.5}"
: "${KEYS:=100000}" "${SIZE:=1000000}" "${BENCH_DIR:=/var/tmp}"
: "${SECTIONS:=put txn lease watch read mixed large}"

for binary in "$ETCD" "$ETCDD" "$BENCH"; do
  if ! command -v "$binary" >/dev/null; then
    echo "compare.sh: no such program: $binary" >&2
    exit 1
  fi
done
file_system=$(df --output=fstype "$BENCH_DIR" | tail -1)
case $file_system in
  tmpfs | ramfs)
    echo "compare.sh: $BENCH_DIR is in memory; set BENCH_DIR to a directory on a disk" >&2
    exit 1
    ;;
esac

work=$(mktemp -d -p "$BENCH_DIR" etcdd-compare.XXXXXX)
trap 'stop_servers; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
rates=$work/rates.tsv    # section, row, system, rate, p50, p99, CPU s per 100k, client share
singles=$work/singles.tsv  # row, system, value
touch "$rates" "$singles"
failures=0

load_average=$(cut -d' ' -f1 /proc/loadavg)
if awk -v load="$load_average" 'BEGIN { exit !(load > 0.5) }'; then
  echo "compare.sh: the machine is busy (load average $load_average); expect noise" >&2
fi

say() { echo "$(date +%T) $*" >&2; }

# start SYSTEM DATA: a server of that system; "etcd" or "etcdd".
start() {
  local binary=$ETCD
  [ "$1" = etcd ] || binary=$ETCDD
  start_server "$binary" "$2"
}

# bench ARG...: a run against the present server; its report is left in `report`.
bench() {
  local code=0
  report=$("$BENCH" "$@" --endpoint "$ENDPOINT" --server-pid "$SERVER_PID" --json) || code=$?
  if [ "$code" != 0 ]; then
    say "FAILED with $code: $* $report"
    failures=$((failures + 1))
  fi
}

# row LABEL ARG...: measures one row of the first table for $system in section $section.
row() {
  local label=$1
  shift
  bench "$@" --keys "$KEYS" --seconds "$SECONDS_PER_ROW" --warmup "$WARMUP"
  local values=() name
  for name in rate p50_us p99_us server_cpu_s_per_100k client_cpu_share; do
    values+=("$(field "$name" "$report")")
  done
  (IFS=$'\t'; echo "$section"$'\t'"$label"$'\t'"$system"$'\t'"${values[*]}") >>"$rates"
  say "  $system $label: ${values[*]}"
}

# single LABEL VALUE: one figure of the second table for $system.
single() {
  printf '%s\t%s\t%s\n' "$1" "$system" "$2" >>"$singles"
  say "  $system $1: $2"
}

# The sections. Each begins with a freshly started server, etcd's best state for reads.
section_put() {
  row "put, 1 conn / 1 outstanding" --op put --connections 1 --outstanding 1
  row "put, 8 / 64" --op put --outstanding 64
  row "put, 8 / 1000" --op put --outstanding 1000
}
section_txn() {
  row "txn compare + put, 1 / 1" --op txn --connections 1 --outstanding 1
  row "txn compare + put, 8 / 64" --op txn --outstanding 64
}
section_lease() {
  row "lease grant, 8 / 64" --op lease-grant --outstanding 64
  row "lease keepalive, 8 streams / 64" --op lease-keepalive --outstanding 64
}
section_watch() {
  row "watch events, 104 watchers on 8 conns, 8 puts" --op watch --outstanding 8
  row "watch events, 1000 streams on 8 conns, 8 puts" --op watch --outstanding 8 \
    --watchers 1000 --streams 1000
  row "watch events, 1 watcher on each of 100 conns, 8 puts" --op watch --outstanding 8 \
    --connections 100 --watchers 100 --streams 100
  row "watch events, 1000 watchers on 100 conns, 50 puts/s" --op watch --puts-per-second 50 \
    --connections 100 --watchers 1000 --streams 100
}
section_read() {
  local kind
  for kind in linearizable serializable; do
    local flag=()
    [ "$kind" = linearizable ] || flag=(--serializable)
    row "$kind get, 1 / 1" --op range --connections 1 --outstanding 1 "${flag[@]}"
    row "$kind get, 8 / 64" --op range --outstanding 64 "${flag[@]}"
    row "$kind get, 8 / 1000" --op range --outstanding 1000 "${flag[@]}"
    row "$kind range of 1000 keys, 8 / 8" --op range1000 --outstanding 8 "${flag[@]}"
  done
}
section_mixed() {
  row "mixed (75 % reads), 8 / 64" --op mixed --outstanding 64
}

# The large section runs by itself, since it measures states of one server's life.
megabytes() { awk -v kib="$1" 'BEGIN { printf "%.0f", kib / 1024 }'; }
seconds() { awk -v ms="$1" 'BEGIN { printf "%.2f", ms / 1000 }'; }

large() {
  local data=$1 half=$((SIZE / 2))
  start "$system" "$data"
  bench load --keys "$SIZE" --outstanding 1000 --random
  single "load, s" "$(field seconds "$report")"
  single "load, server CPU s per 100k" "$(field server_cpu_s_per_100k "$report")"
  single "RSS after load, MiB" "$(megabytes "$(field server_rss_kib "$report")")"
  single "anonymous RSS after load, MiB" "$(megabytes "$(field server_rss_anon_kib "$report")")"
  stop_server "$SERVER_PID" KILL
  start "$system" "$data"
  single "kill -9 to first linearizable get, s" "$(seconds "$READY_MS")"
  bench --op range --keys "$SIZE" --seconds "$SECONDS_PER_ROW" --warmup 0
  single "RSS after restart and reads, MiB" "$(megabytes "$(field server_rss_kib "$report")")"
  single "anonymous RSS after restart and reads, MiB" \
    "$(megabytes "$(field server_rss_anon_kib "$report")")"
  bench load --keys "$half" --outstanding 1000 --random
  bench compact
  single "compaction of $half superseded revisions, s" "$(seconds "$(field elapsed_ms "$report")")"
  single "compaction, server CPU s" "$(field server_cpu_s "$report")"
  single "data directory after compaction, MiB" "$(megabytes "$(du -sk "$data" | cut -f1)")"
  bench load --keys "$half" --outstanding 1000 --random
  bench --op put --keys "$SIZE" --seconds "$SECONDS_PER_ROW" --warmup "$WARMUP"
  single "put p99 idle, 8 / 64, us" "$(field p99_us "$report")"
  local idle_p99
  idle_p99=$(field p99_us "$report")
  "$BENCH" compact --endpoint "$ENDPOINT" --json >"$work/compact.json" &
  local compact_pid=$!
  bench --op put --keys "$SIZE" --seconds 120 --warmup 0 --stop-with-pid "$compact_pid"
  wait "$compact_pid" || failures=$((failures + 1))
  local compaction
  compaction=$(cat "$work/compact.json")
  single "compaction under puts, 8 / 64, s" "$(seconds "$(field elapsed_ms "$compaction")")"
  single "put p99 during compaction, us" "$(field p99_us "$report")"
  single "put p99 during compaction / idle" \
    "$(awk -v a="$(field p99_us "$report")" -v b="$idle_p99" 'BEGIN { printf "%.2f", a / b }')"
  stop_server "$SERVER_PID"
}

for ((round = 1; round <= ROUNDS; ++round)); do
  for section in $SECTIONS; do
    [ "$section" != large ] || continue
    for system in etcd etcdd; do
      say "round $round of $ROUNDS, $section, $system"
      data=$work/$system.$round
      new=no
      [ -d "$data" ] || new=yes
      start "$system" "$data"
      if [ "$new" = yes ]; then
        bench load --keys "$KEYS" --outstanding 1000
        stop_server "$SERVER_PID"
        start "$system" "$data"
      fi
      "section_$section"
      stop_server "$SERVER_PID"
    done
  done
  rm -rf "$work"/etcd.* "$work"/etcdd.*
done
if [[ " $SECTIONS " == *" large "* ]]; then
  for ((round = 1; round <= LARGE_ROUNDS; ++round)); do
    for system in etcd etcdd; do
      say "large, round $round of $LARGE_ROUNDS, $system"
      large "$work/large"
      rm -rf "$work/large" "$work/large.log"
    done
  done
fi

cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
"$here/tables.sh" "$rates" "$singles" <<INFO
Machine: $(nproc) cores, $cpu, kernel $(uname -r), $file_system; $(date -u +%F);
load average when the run began: $load_average.
etcd: $("$ETCD" --version 2>&1 | head -1). etcdd: $("$ETCDD" --version 2>&1 | head -1).
Medians of $ROUNDS interleaved rounds of $SECONDS_PER_ROW s ($LARGE_ROUNDS for the large section);
$KEYS keys of 16 bytes with values of 256 bytes; large section $SIZE keys.
INFO
if [ "$failures" -gt 0 ]; then
  say "$failures runs had errors"
  exit 1
fi
