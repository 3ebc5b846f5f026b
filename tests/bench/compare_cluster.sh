#!/bin/bash
# compare_cluster.sh: clusters of three etcd and of three etcdd on this machine, as a Markdown table
# on stdout; progress goes to stderr. README.md says what is measured and how to read it.
#
# Environment (defaults in brackets)
#   ETCD, ETCDD, BENCH  binaries [etcd of the PATH; those of build/release]
#   ROUNDS              interleaved rounds, of which medians are shown [3]
#   SECONDS_PER_ROW     measured time of a row [3], after WARMUP [1]
#   KEYS                keys that are written and read [10000]
#   BENCH_DIR           where data directories are made; must be a real disk [/var/tmp]
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tests/bench/servers.sh
source "$here/servers.sh"

: "${ETCD:=etcd}" "${ETCDD:=$root/build/release/cmd/etcdd/etcdd}"
: "${BENCH:=$root/build/release/cmd/etcdd-bench/etcdd-bench}"
: "${ROUNDS:=3}" "${SECONDS_PER_ROW:=3}" "${WARMUP:=1}" "${KEYS:=10000}" "${BENCH_DIR:=/var/tmp}"

work=$(mktemp -d -p "$BENCH_DIR" etcdd-cluster.XXXXXX)
trap 'stop_servers; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
rows=$work/rows.tsv  # row, system, rate, p50 us, p99 us, server CPU s per 100k
touch "$rows"
ticks=$(getconf CLK_TCK)

say() { echo "$(date +%T) $*" >&2; }

# CPU seconds that the servers have used so far.
servers_cpu() {
  local pid sum=0 fields
  for pid in "${SERVER_PIDS[@]}"; do
    read -ra fields <"/proc/$pid/stat"
    sum=$((sum + fields[13] + fields[14]))
  done
  awk -v sum="$sum" -v hz="$ticks" 'BEGIN { print sum / hz }'
}

# start_cluster BINARY DIR: three members; LEADER and FOLLOWER are endpoints.
start_cluster() {
  local binary=$1 dir=$2 i listed="" peers=() clients=()
  for i in 0 1 2; do
    peers[i]=$(free_port) clients[i]=$(free_port)
    listed+="${listed:+,}m$i=http://127.0.0.1:${peers[i]}"
  done
  SERVER_PIDS=()
  for i in 0 1 2; do
    "$binary" --name "m$i" --data-dir "$dir/m$i" \
      --listen-client-urls "http://127.0.0.1:${clients[i]}" \
      --advertise-client-urls "http://127.0.0.1:${clients[i]}" \
      --listen-peer-urls "http://127.0.0.1:${peers[i]}" \
      --initial-advertise-peer-urls "http://127.0.0.1:${peers[i]}" \
      --initial-cluster "$listed" --quota-backend-bytes 17179869184 --logger zap \
      --log-level error >>"$dir/m$i.log" 2>&1 &
    SERVER_PIDS+=("$!")
  done
  local began
  began=$(date +%s%N)
  for i in 0 1 2; do
    "$BENCH" restart-probe --endpoint "127.0.0.1:${clients[i]}" --since "$began" --json >/dev/null
  done
  # The second command's columns: endpoint, id, version, size, is leader, ...
  local line
  LEADER="" FOLLOWER=""
  while IFS= read -r line; do
    case $(cut -d, -f5 <<<"$line") in
      *true*) LEADER=$(cut -d, -f1 <<<"$line") ;;
      *) FOLLOWER=$(cut -d, -f1 <<<"$line") ;;
    esac
  done < <(ETCDCTL_API=3 etcdctl endpoint status --endpoints \
    "127.0.0.1:${clients[0]},127.0.0.1:${clients[1]},127.0.0.1:${clients[2]}")
  [ -n "$LEADER" ] && [ -n "$FOLLOWER" ]
}

# row SYSTEM LABEL ENDPOINT ARG...
row() {
  local system=$1 label=$2 endpoint=$3 before after report whole=0
  shift 3
  before=$(servers_cpu)
  report=$("$BENCH" "$@" --endpoint "$endpoint" --keys "$KEYS" --seconds "$SECONDS_PER_ROW" \
    --warmup "$WARMUP" --json)
  after=$(servers_cpu)
  # CPU was counted over warm-up and measured time, at the same rate of requests.
  whole=$(awk -v rate="$(field rate "$report")" -v s="$SECONDS_PER_ROW" -v w="$WARMUP" \
    'BEGIN { print rate * (s + w) }')
  printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$label" "$system" "$(field rate "$report")" \
    "$(field p50_us "$report")" "$(field p99_us "$report")" \
    "$(awk -v a="$after" -v b="$before" -v n="$whole" 'BEGIN { print (a - b) * 100000 / n }')" \
    >>"$rows"
}

measure() {
  local system=$1 dir=$work/$1
  local binary=$ETCD
  [ "$system" = etcd ] || binary=$ETCDD
  rm -rf "$dir"
  mkdir -p "$dir"
  start_cluster "$binary" "$dir"
  "$BENCH" load --endpoint "$LEADER" --keys "$KEYS" >/dev/null
  row "$system" "put, leader, 1" "$LEADER" --op put --outstanding 1 --connections 1
  row "$system" "put, leader, 64" "$LEADER" --op put --outstanding 64
  row "$system" "put, leader, 1000" "$LEADER" --op put --outstanding 1000
  row "$system" "put, follower, 64" "$FOLLOWER" --op put --outstanding 64
  row "$system" "get, leader, 64" "$LEADER" --op range --outstanding 64
  row "$system" "get, leader, 1000" "$LEADER" --op range --outstanding 1000
  row "$system" "get, follower, 64" "$FOLLOWER" --op range --outstanding 64
  stop_servers
}

for ((round = 1; round <= ROUNDS; ++round)); do
  for system in etcd etcdd; do
    say "round $round of $ROUNDS: $system"
    measure "$system"
  done
done

# Medians side by side.
python3 - "$rows" <<'PY'
import statistics
import sys

rows = {}
for line in open(sys.argv[1]):
    label, system, *values = line.rstrip("\n").split("\t")
    rows.setdefault(label, {}).setdefault(system, []).append([float(v) for v in values])
print("| requests, outstanding | etcd /s | etcdd /s | ratio | p50 ms | p99 ms "
      "| server CPU s per 100k | ratio |")
print("|---|---|---|---|---|---|---|---|")
for label, systems in rows.items():
    etcd, etcdd = ([statistics.median(column) for column in zip(*systems[s])]
                   for s in ("etcd", "etcdd"))
    print(f"| {label} | {etcd[0]:,.0f} | {etcdd[0]:,.0f} | {etcdd[0] / etcd[0]:.2f}x "
          f"| {etcd[1] / 1000:.2f} / {etcdd[1] / 1000:.2f} | {etcd[2] / 1000:.2f} / "
          f"{etcdd[2] / 1000:.2f} | {etcd[3]:.2f} / {etcdd[3]:.2f} | {etcdd[3] / etcd[3]:.2f}x |")
PY
