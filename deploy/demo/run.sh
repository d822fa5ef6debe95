#!/usr/bin/env bash
# `make demo`: a broker, an imin and the worker, all of this machine and for this run only; a few
# hundred signups, good, bad and unlucky; and the books at the end.
#
# The broker is always one of its own: a demo must not take real events from a real queue. Nothing
# is left running, whichever way it ends; what it wrote goes too, unless it failed.

set -euo pipefail
cd "$(dirname "$0")/../.."

target=${CARGO_TARGET_DIR:-target}/debug
api_key=demo-key
sandbox_pid=''
worker_pid=''

step() { printf '== %s\n' "$*"; }

alive() { [ -n "$1" ] && kill -0 "$1" 2>/dev/null; }

# Ends a process that was started here and gives its exit status; after 40 seconds, by force.
end() {
    local pid=$1 deadline=$((SECONDS + 40)) status=0
    if alive "$pid"; then kill -s TERM "$pid"; fi
    while alive "$pid"; do
        if [ "$SECONDS" -ge "$deadline" ]; then kill -s KILL "$pid"; fi
        sleep 0.05
    done
    wait "$pid" || status=$?
    return "$status"
}

clean_up() {
    local status=$?
    trap '' INT TERM
    if [ -n "$worker_pid" ]; then end "$worker_pid" || true; fi
    if [ -n "$sandbox_pid" ]; then end "$sandbox_pid" || true; fi
    end_broker
    case $status in
        0 | 130 | 143) rm -rf -- "$directory" ;;
        *) step "the demo failed; the logs are in $directory" >&2 ;;
    esac
}

# The broker lives for as long as this end of its pipe is open, so it ends even if we are killed.
start_broker() {
    local line
    coproc BROKER { exec deploy/scripts/broker.sh; }
    broker_pid=$!
    amqp_url=''
    while read -r line <&"${BROKER[0]}" && [ "$line" != ready ]; do
        if [[ $line == AMQP_URL=* ]]; then amqp_url=${line#AMQP_URL=}; fi
    done
    [ -n "$amqp_url" ]
}

end_broker() {
    if [ -n "${broker_pid:-}" ]; then end "$broker_pid" || true; fi
    broker_pid=''
}

# Starts a program that dies with this script, and with no setting but those given.
start() {
    exec setpriv --pdeathsig TERM env -i PATH="$PATH" HOME="$directory" "$@"
}

start_sandbox() {
    local line=''
    mkfifo "$directory/sandbox.out"
    start "$target/imin-sandbox" --addr 127.0.0.1:0 --api-key "$api_key" \
        >"$directory/sandbox.out" 2>"$directory/sandbox.log" &
    sandbox_pid=$!
    exec {sandbox_out}<"$directory/sandbox.out"
    read -r -t 30 line <&"$sandbox_out" || true
    sandbox=${line#listening on http://}
    if [ "$sandbox" = "$line" ]; then
        step 'the sandbox did not come up' >&2
        return 1
    fi
}

free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)) && (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
    printf '%s\n' "$port"
}

# Short waits, so that the story is told in seconds; everything else is as it is shipped.
choose_settings() {
    admin=127.0.0.1:$(free_port)
    settings=(
        AMQP_URL="$amqp_url"
        IMIN_BASE_URL="http://$sandbox/api/v2"
        IMIN_API_KEY="$api_key"
        LEDGER_URL="sqlite://$directory/ledger.db"
        ADMIN_ADDR="$admin"
        RETRY_INITIAL=200ms
        RETRY_MAX_INTERVAL=2s
        RETRY_MAX_ATTEMPTS=4
        LOG_FORMAT=json
    )
}

start_worker() {
    start "${settings[@]}" "$target/imin-customer-worker" run >"$directory/worker.log" 2>&1 &
    worker_pid=$!
}

# In the background, since a shell obeys no signal while it waits for a program in the foreground.
tell_the_story() {
    start TERM="${TERM:-dumb}" "${settings[@]}" "$target/examples/demo" "$1" \
        --worker "$target/imin-customer-worker" --admin "$admin" --sandbox "$sandbox" \
        --amqp-url "$amqp_url" --directory "$directory" &
    wait "$!"
}

stop_worker() {
    local status=0
    end "$worker_pid" || status=$?
    worker_pid=''
    if [ "$status" != 0 ]; then
        step "the worker ended with $status instead of 0" >&2
        return 1
    fi
}

stop_all() {
    stop_worker
    end "$sandbox_pid"
    sandbox_pid=''
    end_broker
}

step 'what is missing is installed, what is not built is built'
deploy/scripts/ensure.sh demo
cargo build --locked --quiet --bins --example demo

directory=$(mktemp -d "${TMPDIR:-/tmp}/imin-demo.XXXXXX")
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step 'a RabbitMQ of its own starts'
start_broker
step 'imin-sandbox plays imin, by its documentation, with faults on request'
start_sandbox
choose_settings
step 'imin-customer-worker run'
start_worker
step 'imin-customer-worker send signups.jsonl'
tell_the_story signups
step 'AMBIGUOUS=park imin-customer-worker run: it is stopped and started with another policy'
stop_worker
settings+=(AMBIGUOUS=park)
start_worker
tell_the_story night
step 'the worker is told to stop, and everything else ends'
stop_all
step 'nothing is left running'
