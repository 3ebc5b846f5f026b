#!/usr/bin/env bash
# Runs a cluster of three etcdd processes on the loopback interface until Ctrl-C:
#
#   local_cluster.sh PROGRAM DIRECTORY
#
# Data and logs are kept in DIRECTORY and used again by the next start. A member that ends, as by
# kill -9, is left so: the script tells how to bring it back. Exit codes: 0 after Ctrl-C or SIGTERM,
# 1 when a member does not come up or all have ended.
# ETCDD_CLIENT_PORTS, ETCDD_PEER_PORTS: three numbers each.
set -euo pipefail

program=$(realpath "$1")
mkdir -p "$2"
directory=$(realpath "$2")
read -ra client_ports <<<"${ETCDD_CLIENT_PORTS:-2379 22379 32379}"
read -ra peer_ports <<<"${ETCDD_PEER_PORTS:-2380 22380 32380}"
readonly READY='ready to serve client requests'
readonly START_SECONDS=60

initial_cluster=
for i in 0 1 2; do
  initial_cluster+=${initial_cluster:+,}etcdd$((i + 1))=http://127.0.0.1:${peer_ports[i]}
done

# start I: begins member I; its log begins anew. In a session of its own: Ctrl-C reaches this script
# alone, which then stops each member once.
start() {
  local name=etcdd$(($1 + 1)) client=http://127.0.0.1:${client_ports[$1]}
  local peer=http://127.0.0.1:${peer_ports[$1]}
  : >"$directory/$name.log"
  setsid "$program" --name "$name" --data-dir "$directory/$name" \
    --listen-client-urls "$client" --advertise-client-urls "$client" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" \
    --initial-cluster "$initial_cluster" --initial-cluster-token local \
    >>"$directory/$name.log" 2>&1 </dev/null &
  pids[$1]=$!
}

stop() {
  trap '' INT TERM
  {
    kill "${pids[@]}" || true
    wait || true
  } 2>/dev/null
}

# Waits until every member serves.
await_ready() {
  local end=$((SECONDS + START_SECONDS)) i log
  for i in 0 1 2; do
    log=$directory/etcdd$((i + 1)).log
    until grep -qs "$READY" "$log"; do
      if ! kill -0 "${pids[i]}" 2>/dev/null || ((SECONDS >= end)); then
        echo "etcdd$((i + 1)) does not come up; the end of $log:" >&2
        tail -n 5 "$log" >&2
        stop
        exit 1
      fi
      sleep 0.1
    done
  done
}

# Says which members end, until none is left. What goes to /dev/null, here and above, is the shell's
# own words on processes that were killed.
attend() {
  local i code
  while ((${#pids[@]} > 0)); do
    wait -n "${pids[@]}" 2>/dev/null || true
    for i in "${!pids[@]}"; do
      kill -0 "${pids[i]}" 2>/dev/null && continue
      code=0
      wait "${pids[i]}" 2>/dev/null || code=$?
      echo "etcdd$((i + 1)) ended with code $code; it comes back with: kill -USR1 $$"
      unset "pids[i]"
    done
  done
}

# On SIGUSR1.
bring_back() {
  local i
  for i in 0 1 2; do
    [[ -n ${pids[i]:-} ]] && kill -0 "${pids[i]}" 2>/dev/null && continue
    echo "etcdd$((i + 1)) starts again"
    start "$i"
  done
}

pids=()
trap 'echo; echo stopping; stop; exit 0' INT TERM
for i in 0 1 2; do start "$i"; done
await_ready
trap bring_back USR1
endpoints=$(printf '127.0.0.1:%s,' "${client_ports[@]}")
cat <<TEXT
Three members serve; Ctrl-C stops them. Logs and data are in $2.
  export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=${endpoints%,}
  etcdctl endpoint status -w table
  kill -9 ${pids[0]}         # etcdd1; etcdd2 is ${pids[1]}, etcdd3 ${pids[2]}
  kill -USR1 $$      # brings back who has ended
TEXT
attend
echo "no member is left" >&2
exit 1
