# shellcheck shell=bash
# What the scripts that play everything through have in common (demo/run.sh, scripts/image.sh): to be
# sourced from the repository's root. Owns the starting and ending of processes, and nothing of their story.

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

# Sets amqp_url and broker_env. The broker lives for as long as this end of its pipe is open, so it
# ends even if we are killed.
start_broker() {
    local line
    coproc BROKER { exec deploy/scripts/broker.sh; }
    broker_pid=$!
    amqp_url=''
    while read -r line <&"${BROKER[0]}" && [ "$line" != ready ]; do
        # shellcheck disable=SC2034 # not everybody asks the broker by rabbitmqctl
        case $line in
            AMQP_URL=*) amqp_url=${line#AMQP_URL=} ;;
            BROKER_ENV=*) broker_env=${line#BROKER_ENV=} ;;
        esac
    done
    [ -n "$amqp_url" ]
}

end_broker() {
    if [ -n "${broker_pid:-}" ]; then end "$broker_pid" || true; fi
    broker_pid=''
}

free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)) && (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
    printf '%s\n' "$port"
}
