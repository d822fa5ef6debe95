#!/usr/bin/env bash
# A RabbitMQ node of one's own: private, unprivileged, on loopback only, gone when its keeper is.
#
#   deploy/scripts/broker.sh [EXTRA.conf]
#
# Starts a node and its own epmd on free ports, in a temporary directory; prints
#
#   AMQP_URL=amqp://guest:guest@127.0.0.1:PORT/%2f
#   BROKER_ENV=FILE      what rabbitmqctl needs to find the node, NAME=VALUE a line
#   ready
#
# and then obeys one word a line on standard input, answering each with `ready` or `down`:
#
#   kill     SIGKILL the node, as a crash would; its data stay, and queues just declared too
#   stop     let it shut down in order
#   start    start it again: same data, same port
#
# Standard input's end, SIGINT and SIGTERM end the node, its epmd and the directory. Whoever holds
# the other end of the pipe therefore cannot leave a broker behind, however it dies. The machine's
# own broker, its settings and its cookie are never read or touched.
#
# EXTRA.conf is appended to rabbitmq.conf (definitions to load, TLS listeners, timeouts).

set -euo pipefail

extra=${1:-}
home=''
node_pid=''
epmd_pid=''

say() { printf 'broker: %s\n' "$*" >&2; }

# The scripts behind Debian's wrapper, which would switch to the user `rabbitmq`.
find_bin() {
    local candidate
    for candidate in "${RABBITMQ_BIN:-}" /usr/lib/rabbitmq/bin /opt/rabbitmq/sbin /usr/local/sbin; do
        if [ -n "$candidate" ] && [ -x "$candidate/rabbitmq-server" ]; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    say 'no rabbitmq-server found; run deploy/scripts/ensure.sh demo, or set RABBITMQ_BIN to its directory'
    return 1
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

alive() { [ -n "$1" ] && kill -0 "$1" 2>/dev/null; }

# Waits until a port answers, for as long as its process lives, `$3` seconds at most.
await_port() {
    local pid=$1 port=$2 deadline=$((SECONDS + $3))
    until listening "$port"; do
        alive "$pid" && [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.05
    done
}

# Takes three neighbouring ports below the ephemeral range: epmd, AMQP, distribution. An epmd that
# could bind the first one holds the place against other brokers that start at the same time.
take_ports() {
    local attempt
    for ((attempt = 0; attempt < 50; attempt++)); do
        epmd_port=$((20000 + 3 * ((RANDOM << 15 | RANDOM) % 4000)))
        amqp_port=$((epmd_port + 1))
        dist_port=$((epmd_port + 2))
        if listening "$epmd_port" || listening "$amqp_port" || listening "$dist_port"; then
            continue
        fi
        epmd -address 127.0.0.1 -port "$epmd_port" >"$home/epmd.log" 2>&1 &
        epmd_pid=$!
        disown "$epmd_pid"
        if await_port "$epmd_pid" "$epmd_port" 10 && alive "$epmd_pid"; then
            return
        fi
        end epmd_pid KILL
    done
    say "no three free ports found; epmd said: $(tail -n 3 "$home/epmd.log")"
    return 1
}

write_files() {
    (umask 077 && printf '%s' "$(</proc/sys/kernel/random/uuid)" >"$home/.erlang.cookie")
    chmod 0400 "$home/.erlang.cookie"
    mkdir "$home/conf.d" "$home/log" "$home/data"
    echo '[].' >"$home/enabled_plugins"
    {
        echo "listeners.tcp.1 = 127.0.0.1:$amqp_port"
        echo 'disk_free_limit.absolute = 50MB'
        if [ -n "$extra" ]; then cat "$extra"; fi
    } >"$home/rabbitmq.conf"
    cat >"$home/env" <<ENV
HOME=$home
RABBITMQ_BIN=$bin
RABBITMQ_NODENAME=imin@localhost
RABBITMQ_DIST_PORT=$dist_port
RABBITMQ_MNESIA_BASE=$home/data
RABBITMQ_LOG_BASE=$home/log
RABBITMQ_PID_FILE=$home/node.pid
RABBITMQ_CONF_ENV_FILE=$home/no-such-file
RABBITMQ_CONFIG_FILE=$home/rabbitmq.conf
RABBITMQ_CONFIG_FILES=$home/conf.d
RABBITMQ_ADVANCED_CONFIG_FILE=$home/no-such-file
RABBITMQ_ENABLED_PLUGINS_FILE=$home/enabled_plugins
ERL_EPMD_PORT=$epmd_port
ERL_EPMD_ADDRESS=127.0.0.1
ENV
}

# ALLOW_INPUT makes the script exec the virtual machine, so that its process id is ours to end.
# A Ctrl-C at the terminal is for this script, not for it. Disowned, its death is not announced.
start_node() {
    local -a environment
    mapfile -t environment <"$home/env"
    env "${environment[@]}" RABBITMQ_ALLOW_INPUT=1 RABBITMQ_SERVER_START_ARGS='-noinput +B i' \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' \
        "$bin/rabbitmq-server" >>"$home/log/console.log" 2>&1 &
    node_pid=$!
    disown "$node_pid"
    if ! await_port "$node_pid" "$amqp_port" 120; then
        say 'the node did not come up; its last words:'
        tail -n 20 "$home"/log/*.log >&2
        return 1
    fi
}

# RabbitMQ writes down that a quorum queue exists only some time after the declare is answered: killed
# before that (measured: at once on 3.10), it comes back with a queue that answers nobody. Tests mean
# to kill a broker that has been up for long.
write_down_queues() {
    local -a environment
    mapfile -t environment <"$home/env"
    env "${environment[@]}" "$bin/rabbitmqctl" -q eval '[ok = dets:sync(T) || T <- dets:all()], ok.' >/dev/null
}

# Sends signal `$2` to the process whose id is in the variable named by `$1`, and waits until it is
# gone; one that takes longer than half a minute to obey is killed.
end() {
    local -n pid=$1
    local signal=$2 deadline=$((SECONDS + 30))
    while alive "$pid"; do
        if [ "$SECONDS" -ge "$deadline" ]; then signal=KILL; fi
        kill -s "$signal" "$pid" 2>/dev/null || true
        sleep 0.05
    done
    pid=''
}

clean_up() {
    trap '' INT TERM
    end node_pid KILL
    end epmd_pid KILL
    if [ -n "$home" ]; then rm -rf -- "$home"; fi
}

obey() {
    case $1 in
        kill) write_down_queues && end node_pid KILL && echo down ;;
        stop) end node_pid TERM && echo down ;;
        start) start_node && echo ready ;;
        *) say "unknown word: $1 (kill, stop and start are known)" && return 1 ;;
    esac
}

bin=$(find_bin)
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
home=$(mktemp -d "${TMPDIR:-/tmp}/imin-broker.XXXXXX")
take_ports
write_files
start_node
printf 'AMQP_URL=amqp://guest:guest@127.0.0.1:%s/%%2f\nBROKER_ENV=%s\nready\n' "$amqp_port" "$home/env"
while read -r word; do
    obey "$word"
done
