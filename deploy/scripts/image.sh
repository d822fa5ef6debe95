#!/usr/bin/env bash
# `make image`: builds the Dockerfile's two images without Docker, and starts what it built.
#
# The Dockerfile's base images have their places taken by two that debootstrap makes from Debian's packages:
# a builder with this machine's own Rust, and a runtime of the C library and the root certificates, without
# a shell. buildah builds in a chroot, as root, offline: cargo reads the crates of this machine. podman
# starts the images as they would run anywhere: not root, no capabilities, a read-only root file system.
#
# Everything is kept below .cache/image (root's: `sudo rm -rf .cache/image` takes it away), apart from the
# machine's own images; a second run builds only what has changed. What it starts ends with it.

set -euo pipefail
cd "$(dirname "$0")/../.."

cache=$PWD/.cache/image
worker=localhost/imin-customer-worker
sandbox=localhost/imin-sandbox
suite=bookworm
signups=100
run=$$
started=()
directory=''

# shellcheck source=deploy/scripts/parts.sh
. deploy/scripts/parts.sh

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -- "$@"; fi
}

fail() {
    step "FAILED: $*" >&2
    exit 1
}

# The store is of this clone only, and so is the place for what lasts until the next boot.
store=(--root "$cache/store" --runroot "/run/imin-image-$(printf %s "$cache" | cksum | cut -d' ' -f1)")

# No systemd is asked to run the health checks: we do.
podman() { as_root env DISABLE_HC_SYSTEMD=true podman "${store[@]}" --runtime runc "$@"; }

buildah() { as_root env BUILDAH_ISOLATION=chroot buildah "${store[@]}" "$@"; }

has_image() { podman image exists "$1"; }

clean_up() {
    local status=$? name
    trap '' INT TERM
    for name in ${started[@]+"${started[@]}"}; do
        if [ "$status" != 0 ]; then podman logs "$name" 2>&1 | tail -n 20 >&2 || true; fi
        podman rm --force --time 0 --ignore "$name" >/dev/null || true
    done
    podman volume rm --force "imin-ledger-$run" >/dev/null 2>&1 || true
    end_broker
    if [ -n "$directory" ]; then as_root rm -rf --one-file-system -- "$directory"; fi
}

# --- The base images ---

# Debian, a compiler for the C code in our dependencies, and the Rust of this machine.
make_builder() {
    local root=$1 sysroot
    sysroot=$(rustc --print sysroot)
    if [ "$sysroot" = /usr ]; then
        fail 'this takes a Rust that stands in a directory of its own (https://rustup.rs)'
    fi
    step "debootstrap makes a Debian ($suite) to build in"
    as_root debootstrap --variant=minbase --include=ca-certificates,gcc,libc6-dev "$suite" "$root" \
        >"$directory/debootstrap.log" 2>&1 || { tail "$directory/debootstrap.log" >&2; fail 'debootstrap'; }
    as_root rm -f "$root"/var/cache/apt/archives/*.deb "$root/etc/hostname" "$root/etc/resolv.conf"
    as_root cp -a "$sysroot/bin/cargo" "$sysroot/bin/rustc" "$root/usr/local/bin/"
    as_root cp -a "$sysroot/lib/." "$root/usr/local/lib/"
    as_root tar -C "$root" -c . | podman import --quiet - "$builder"
}

# What a binary of ours needs of that Debian, and nothing to start anything else with.
make_runtime() {
    local root=$1
    (
        cd "$root"
        shopt -s nullglob
        install -d -m 1777 tmp/runtime/tmp
        cp -a --parents etc/os-release usr/lib/os-release etc/ssl/certs/ca-certificates.crt lib* usr/lib*/ld-linux* \
            usr/lib/*-linux-gnu/{ld-linux*,libc.so.*,libm.so.*,libgcc_s.so.*,libresolv.so.*,libnss_*.so.*} tmp/runtime/
        tar -C tmp/runtime --owner=0 --group=0 -c .
    ) | podman import --quiet - "$runtime"
}

make_bases() {
    builder=localhost/imin-base-build:$suite-rust-$(rustc --version | cut -d' ' -f2)
    runtime=localhost/imin-base-runtime:$suite
    if ! has_image "$builder" || ! has_image "$runtime"; then
        make_builder "$directory/root"
        make_runtime "$directory/root"
    fi
}

# --- The images ---

build() {
    buildah build --layers --format docker --pull-never \
        --build-arg BUILD_IMAGE="$builder" --build-arg RUNTIME_IMAGE="$runtime" \
        --build-arg GIT_COMMIT="$commit" \
        --volume "${CARGO_HOME:-$HOME/.cargo}/registry:/root/.cargo/registry:ro" --env CARGO_NET_OFFLINE=true \
        --target "$1" --tag "$2" . >"$directory/build.log" 2>&1 ||
        { tail -n 40 "$directory/build.log" >&2; fail "the Dockerfile's target $1"; }
}

build_images() {
    commit=${GIT_COMMIT:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}
    cargo fetch --quiet --locked
    step 'buildah builds the Dockerfile (the first time takes minutes)'
    build sandbox "$sandbox"
    build worker "$worker"
    podman images --format '{{.Repository}} {{.Size}}' --filter dangling=false | grep -v /imin-base-
}

# --- What they do ---

# Starts an image as a cluster would, on this machine's loopback; what follows the image are its arguments.
start() {
    local name=$1
    shift
    started+=("$name")
    podman run --detach --name "$name" "${confined[@]}" "$@" >/dev/null
}

confined=(
    --network host --pull never --timeout 600
    --read-only --read-only-tmpfs=false --cap-drop all --security-opt no-new-privileges
    --ulimit nofile=4096:4096 --ulimit nproc=1024:1024
)

get() {
    local answer
    exec {answer}<>"/dev/tcp/127.0.0.1/$1"
    printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$2" >&"$answer"
    cat <&"$answer"
    exec {answer}>&-
}

# Repeats a test until it holds, for a minute at most.
await() {
    local what=$1 deadline=$((SECONDS + 60))
    shift
    until "$@" 2>/dev/null; do
        [ "$SECONDS" -lt "$deadline" ] || fail "$what"
        sleep 0.1
    done
}

answers_200() { get "$1" "$2" | grep -q '^HTTP/1.[01] 200'; }

outcome_is() { get "$admin_port" /metrics | grep -qx "customer_worker_outcomes_total{outcome=\"$1\"} $2"; }

accounts() { get "$sandbox_port" /sandbox/stats | sed -n 's/.*"accounts":\([0-9]*\).*/\1/p'; }

depth() {
    local -a environment
    mapfile -t environment <"$broker_env"
    env "${environment[@]}" "$(sed -n 's/^RABBITMQ_BIN=//p' "$broker_env")/rabbitmqctl" -q list_queues name messages |
        sed -n "s/^$1\t//p"
}

same() {
    [ "$2" = "$3" ] || fail "$1: $2 instead of $3"
}

start_sandbox() {
    sandbox_port=$(free_port)
    start "imin-sandbox-$run" "$sandbox" --addr "127.0.0.1:$sandbox_port" --api-key image-key
    await 'the sandbox does not answer' answers_200 "$sandbox_port" /sandbox/stats
}

# The ledger's volume lasts from one container to the next.
start_worker() {
    start "$1" --volume "imin-ledger-$run:/var/lib/imin-customer-worker" "${settings[@]}" "$worker"
    await 'the worker does not get ready' answers_200 "$admin_port" /readyz
}

choose_settings() {
    admin_port=$(free_port)
    settings=(
        --env AMQP_URL="$amqp_url"
        --env IMIN_BASE_URL="http://127.0.0.1:$sandbox_port/api/v2"
        --env IMIN_API_KEY=image-key
        --env ADMIN_ADDR="127.0.0.1:$admin_port"
    )
}

send_signups() {
    local number
    for ((number = 0; number < signups; number++)); do
        printf '{"customer": {"email": "c%d@example.com", "givenName": "C", "familyName": "%d"}}\n' "$number" "$number"
    done | podman run --rm --interactive "${confined[@]}" "${settings[@]}" "$worker" \
        send --id-from /customer/email - >"$directory/send.log" 2>&1 ||
        { cat "$directory/send.log" >&2; fail 'send'; }
}

# From outside, as the kernel sees it.
check_confinement() {
    local pid
    pid=$(podman inspect --format '{{.State.Pid}}' "$1")
    as_root cat "/proc/$pid/status" >"$directory/status"
    as_root cat "/proc/$pid/mountinfo" >"$directory/mounts"
    grep -qx $'Uid:\t65532\t65532\t65532\t65532' "$directory/status" || fail 'the worker does not run as user 65532'
    grep -qx $'CapEff:\t0\\{16\\}' "$directory/status" || fail 'the worker has capabilities'
    cut -d' ' -f5,6 "$directory/mounts" | grep -q '^/ ro' || fail 'the root file system can be written'
}

check_contents() {
    local image=$1 mount
    mount=$(podman image mount "$image")
    if as_root find "$mount" -type f -perm /111 ! -name '*.so*' ! -path '*/imin-*' | grep .; then
        fail "$image holds programs that are not ours"
    fi
    podman image unmount "$image" >/dev/null
    same "$image names its commit" "$(podman inspect --format \
        '{{index .Config.Labels "org.opencontainers.image.revision"}}' "$worker")" "$commit"
}

check_health() {
    podman healthcheck run "$1" >/dev/null || fail 'the health check does not find the worker'
    if podman run --rm "${confined[@]}" --env ADMIN_ADDR="127.0.0.1:$(free_port)" "$worker" healthcheck \
        >/dev/null 2>&1; then
        fail 'the health check finds a worker where there is none'
    fi
}

stop_worker() {
    local began=$SECONDS
    podman stop --time 60 "$1" >/dev/null
    same 'the exit status after SIGTERM' "$(podman inspect --format '{{.State.ExitCode}}' "$1")" 0
    [ $((SECONDS - began)) -lt 20 ] || fail "the worker took $((SECONDS - began)) seconds to stop"
}

depth_is() { [ "$(depth "$1")" = "$2" ]; }

# The broker counts its queues every few seconds.
check_books() {
    same 'accounts at imin' "$(accounts)" "$signups"
    await 'not every account has its event' depth_is customers.unrouted "$signups"
    await 'events are left in the queue' depth_is customers.create 0
    await 'there are dead letters' depth_is customers.create.dead 0
}

check() {
    step 'a private broker, and the image of the sandbox'
    start_broker
    start_sandbox
    choose_settings
    step "the image of the worker: $signups signups"
    start_worker "imin-worker-$run-1"
    send_signups
    await 'the signups do not become accounts' outcome_is created "$signups"
    check_books
    check_confinement "imin-worker-$run-1"
    check_health "imin-worker-$run-1"
    stop_worker "imin-worker-$run-1"
    step 'another container with the same ledger: the same signups again'
    start_worker "imin-worker-$run-2"
    send_signups
    await 'the repeats are not recognised' outcome_is duplicate "$signups"
    check_books
    stop_worker "imin-worker-$run-2"
    check_contents "$worker"
    check_contents "$sandbox"
}

deploy/scripts/ensure.sh image
mkdir -p "$cache"
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
directory=$(mktemp -d "$cache/work.XXXXXX")
make_bases
build_images
check
step "it works: $signups accounts and as many events, nobody twice; user 65532, read-only root, no shell; stopped by SIGTERM with 0"
