# Sourced by the scripts here: starts and stops servers on free ports. Needs BENCH, the path of
# etcdd-bench.

SERVER_PIDS=()

# field NAME JSON: the number called NAME in a flat JSON object; empty when absent.
field() {
  sed -n 's/.*"'"$1"'":\(-\{0,1\}[0-9.]*\).*/\1/p' <<<"$2"
}

# Prints a port that nobody listens on, above 20000 and below the range for outgoing connections.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  echo "$port"
}

# start_server BINARY DATA_DIR [FLAG...]: sets SERVER_PID, ENDPOINT and READY_MS, the time from the
# start to the first answered linearizable get. The server's log is DATA_DIR.log.
start_server() {
  local binary=$1 data=$2
  shift 2
  local client peer began
  client=$(free_port)
  peer=$(free_port)
  while [ "$peer" = "$client" ]; do peer=$(free_port); done
  ENDPOINT=127.0.0.1:$client
  began=$(date +%s%N)
  "$binary" --name bench --data-dir "$data" \
    --listen-client-urls "http://127.0.0.1:$client" \
    --advertise-client-urls "http://127.0.0.1:$client" \
    --listen-peer-urls "http://127.0.0.1:$peer" \
    --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
    --initial-cluster "bench=http://127.0.0.1:$peer" \
    --quota-backend-bytes 17179869184 --logger zap --log-level error "$@" >>"$data.log" 2>&1 &
  SERVER_PID=$!
  SERVER_PIDS+=("$SERVER_PID")
  local probe
  if ! probe=$("$BENCH" restart-probe --endpoint "$ENDPOINT" --since "$began" --json); then
    echo "the server did not become ready; the end of $data.log:" >&2
    tail -5 "$data.log" >&2
    return 1
  fi
  if ! kill -0 "$SERVER_PID" 2>/dev/null; then
    echo "the server is gone; the end of $data.log:" >&2
    tail -5 "$data.log" >&2
    return 1
  fi
  READY_MS=$(field elapsed_ms "$probe")
}

# stop_server PID [SIGNAL]: stops a server and waits for its end.
stop_server() {
  kill -s "${2:-TERM}" "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
  local pid left=()
  for pid in "${SERVER_PIDS[@]}"; do
    [ "$pid" = "$1" ] || left+=("$pid")
  done
  SERVER_PIDS=("${left[@]+"${left[@]}"}")
}

# Ends every server that was started; for EXIT traps.
stop_servers() {
  local pid
  for pid in "${SERVER_PIDS[@]+"${SERVER_PIDS[@]}"}"; do
    kill -s KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  SERVER_PIDS=()
}
