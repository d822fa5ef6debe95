#!/usr/bin/env bash
# Builds the peers into target/bench/peers, with the versions that are pinned here or Debian's.
# What they need of the machine, deploy/scripts/ensure.sh bench has installed.

set -euo pipefail
cd "$(dirname "$0")"

out=${CARGO_TARGET_DIR:-../../target}/bench/peers
java_libraries=(amqp-client slf4j-api jackson-core jackson-databind jackson-annotations)

mkdir -p "$out"/{node,python,go,java}
out=$(cd "$out" && pwd)

node() {
    cp node/* "$out/node/"
    npm ci --prefix "$out/node" --no-audit --no-fund --silent
}

python() {
    cp python/* "$out/python/"
    [ -x "$out/python/bin/pip" ] || python3 -m venv "$out/python"
    "$out/python/bin/pip" install --quiet --requirement python/requirements.txt
}

# Debian's libraries lie in a GOPATH of their own; nothing is fetched.
go_peer() {
    GO111MODULE=off GOPATH=/usr/share/gocode go build -o "$out/go/peer" go/peer.go
}

java() {
    local library
    for library in "${java_libraries[@]}"; do
        ln -sf "/usr/share/java/$library.jar" "$out/java/"
    done
    javac -d "$out/java/classes" -cp "$out/java/*" java/Peer.java
    jar --create --file "$out/java/peer.jar" -C "$out/java/classes" .
}

node
python
go_peer
java
