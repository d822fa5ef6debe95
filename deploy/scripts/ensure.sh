#!/usr/bin/env bash
# Finds what a task of this repository needs, and installs with apt-get what is missing.
#
#   deploy/scripts/ensure.sh build|demo|test|check-deploy|image|lint|bench
#
# Takes Rust, git, bash and make as given. Installs only what is missing, as root or through sudo;
# where neither can be had, says what to install and exits 1. Debian starts and enables a service as
# soon as its package is installed: here none is started, and none starts at the next boot.

set -euo pipefail

policy=/usr/sbin/policy-rc.d
wants=/etc/systemd/system

say() { printf 'ensure: %s\n' "$*" >&2; }

has_any() {
    local path
    for path in "$@"; do
        if [ -e "$path" ]; then return 0; fi
    done
    return 1
}

# One line for each thing: the package that brings it, unless it is there. $RABBITMQ_BIN is for a
# broker that was installed in another way.
missing_for() {
    case $1 in
        build)
            # A linker, and a compiler for the C code in SQLite, ring and mimalloc.
            command -v cc >/dev/null && has_any /usr/include/stdio.h || echo gcc libc6-dev
            ;;
        demo)
            missing_for build
            [ -x "${RABBITMQ_BIN:-/usr/lib/rabbitmq/bin}/rabbitmq-server" ] || echo rabbitmq-server
            ;;
        test)
            missing_for demo
            # A publisher that is not ours, the ledger for several replicas, the judge of our metrics.
            command -v amqp-publish >/dev/null || echo amqp-tools
            has_any /usr/lib/postgresql/*/bin/initdb || echo postgresql
            command -v promtool >/dev/null || echo prometheus
            ;;
        check-deploy)
            missing_for test
            # Node 18.17 is the least; what else there is comes from npm and PyPI.
            command -v node >/dev/null || echo nodejs
            command -v npm >/dev/null || echo npm
            python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
            # Only to read the unit.
            command -v systemd-analyze >/dev/null || echo systemd
            ;;
        image)
            missing_for demo
            # Base images from packages; a builder without an engine; and what starts the images, as root.
            [ -x /usr/sbin/debootstrap ] || echo debootstrap
            command -v buildah >/dev/null || echo buildah
            command -v podman >/dev/null || echo podman
            has_any /usr/sbin/runc /usr/bin/runc || echo runc
            ;;
        lint)
            missing_for build
            command -v shellcheck >/dev/null || echo shellcheck
            ;;
        bench)
            missing_for demo
            has_any /usr/lib/postgresql/*/bin/initdb || echo postgresql
            # The peers' languages, and those of their libraries that Debian has.
            command -v npm >/dev/null || echo nodejs npm
            python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv
            command -v go >/dev/null || echo golang-go
            has_any /usr/share/gocode/src/github.com/rabbitmq/amqp091-go || echo golang-github-rabbitmq-amqp091-go-dev
            command -v javac >/dev/null || echo default-jdk-headless
            has_any /usr/share/java/amqp-client.jar || echo librabbitmq-client-java
            has_any /usr/share/java/jackson-databind.jar || echo libjackson2-databind-java
            ;;
        *)
            say "unknown task: $1 (build, demo, test, check-deploy, image, lint and bench are known)"
            exit 64
            ;;
    esac
}

# Prints how to become root: nothing for root itself.
root_prefix() {
    if [ "$(id -u)" = 0 ]; then
        return 0
    fi
    command -v sudo >/dev/null || return 1
    if [ -t 0 ]; then
        echo sudo
    else
        sudo -n true 2>/dev/null && echo sudo -n
    fi
}

# What starts at boot.
units() { find "$wants" -type l \( -name '*.service' -o -name '*.socket' -o -name '*.timer' \) -printf '%f\n' 2>/dev/null | sort -u; }

# Runs as root, in a shell of its own, so that its trap takes the policy away however it ends.
install_quietly() {
    local before unit
    if ! [ -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\n# Put here while packages are installed, and removed after: start no service.\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    before=$(units)
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q update || say 'apt-get update had trouble; going on with the package lists there are'
    apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@"
    if command -v systemctl >/dev/null; then
        comm -13 <(printf '%s\n' "$before") <(units) | while read -r unit; do
            systemctl --quiet disable "$unit" || say "could not disable $unit; it may start at the next boot"
        done
    fi
}

# Keeps apt-get's words for when it fails.
install_packages() {
    local log status=0
    local -a prefix
    read -ra prefix <<<"$1"
    shift
    log=$(mktemp)
    say "installing $* (a minute or two)"
    "${prefix[@]}" bash "$0" install "$@" </dev/null >"$log" 2>&1 || status=$?
    if [ "$status" != 0 ]; then
        cat "$log" >&2
        say "could not install: $*"
    fi
    rm -f "$log"
    return "$status"
}

main() {
    local missing prefix
    local -a packages
    missing=$(missing_for "$1")
    if [ -z "$missing" ]; then
        return 0
    fi
    read -ra packages <<<"${missing//$'\n'/ }"
    if ! command -v apt-get >/dev/null; then
        say "missing; on Debian these packages bring it: ${packages[*]}"
        return 1
    fi
    if ! prefix=$(root_prefix); then
        say "missing; as root: apt-get install --no-install-recommends ${packages[*]}"
        return 1
    fi
    install_packages "$prefix" "${packages[@]}"
}

if [ "${1:-}" = install ]; then
    shift
    install_quietly "$@"
else
    main "${1:-}"
fi
