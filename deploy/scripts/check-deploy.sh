#!/usr/bin/env bash
# Has judges that are not ours look at what leaves this repository.
#
#   deploy/scripts/check-deploy.sh
#
# The AsyncAPI project's parser reads asyncapi.json; ajv the JSON Schemas and their examples; a CloudEvents
# SDK the events that a worker really published; OpenActive's validator what it really sent to imin;
# Kubernetes' and KEDA's schemas the manifests; the Compose Specification compose.yaml; promtool the
# alerts and their tests; systemd the unit. Installs what it needs below .cache, from npm and PyPI, in the
# versions that deploy/checks pins. `.ci/run` and `make check-deploy` run it.

set -euo pipefail

cd "$(dirname "$0")/../.."
deploy/scripts/ensure.sh check-deploy

checks=.cache/checks
captures=target/tmp/contracts

say() { printf '\n== %s\n' "$*"; }

# Installed beside the repository's sources, not among them: nothing there is ours.
install_node_judges() {
    if ! cmp -s deploy/checks/package-lock.json "$checks/installed-lock.json"; then
        cp deploy/checks/package.json deploy/checks/package-lock.json "$checks/"
        npm ci --prefix "$checks" --ignore-scripts --no-audit --no-fund --loglevel=error
        cp deploy/checks/package-lock.json "$checks/installed-lock.json"
    fi
    cp deploy/checks/*.mjs "$checks/"
}

install_python_judges() {
    if ! cmp -s deploy/checks/requirements.txt "$checks/installed-requirements.txt"; then
        rm -rf "$checks/python"
        python3 -m venv "$checks/python"
        "$checks/python/bin/pip" install --quiet --disable-pip-version-check --requirement deploy/checks/requirements.txt
        cp deploy/checks/requirements.txt "$checks/installed-requirements.txt"
    fi
}

# systemd knows the unit's words, and how much of the machine it leaves open. The binary is not installed
# here, so that its place is taken by one that is.
check_unit() {
    local unit
    unit=$(mktemp -d)/imin-customer-worker.service
    sed 's#^ExecStart=/usr/local/bin/imin-customer-worker#ExecStart=/bin/true#' \
        deploy/systemd/imin-customer-worker.service >"$unit"
    systemd-analyze verify --man=no "$unit"
    # In tenths: 0 is closed, 100 is open.
    systemd-analyze security --offline=true --threshold=20 "$unit" | tail -n 1
    rm -r "$(dirname "$unit")"
}

say 'Judges from npm and PyPI, and meanwhile what a worker really sends'
mkdir -p "$checks"
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
install_node_judges &
node_judges=$!
install_python_judges &
python_judges=$!
rm -rf "$captures"
cargo test --locked --quiet --test it contracts::what_really_goes_out_keeps_its_contract
wait "$node_judges"
wait "$python_judges"

say 'Contracts'
node "$checks/asyncapi.mjs" deploy/contracts/asyncapi.json
node "$checks/schemas.mjs" deploy/contracts "$captures" 0 1 2
node "$checks/cloudevents.mjs" "$captures"/event-*.json
node "$checks/openactive.mjs" "$captures"/request-*.json

say 'Manifests'
"$checks/python/bin/python" deploy/checks/manifests.py deploy
node "$checks/manifests.mjs" deploy/kubernetes/base/scaling.yaml deploy/kubernetes/base/monitor.yaml

say 'Alerts'
(cd deploy/prometheus && promtool check rules rules.yml && promtool test rules rules_test.yml)
promtool check config --syntax-only deploy/compose/prometheus.yml

say 'Unit'
check_unit
