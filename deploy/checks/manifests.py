"""The manifests against schemas that are not ours: Kubernetes' own for what is Kubernetes', the Compose
Specification for compose.yaml; and that every file of the Kustomizations is there and named.

    manifests.py DEPLOY_DIRECTORY
"""

import pathlib
import re
import sys

import compose_spec
import kubernetes_validate
import yaml

VERSIONS = ("1.29", "1.37")
# Checked by manifests.mjs, which knows the operators' schemas; Kustomize's own file has none.
ELSEWHERE = {"ScaledObject", "TriggerAuthentication", "PodMonitor", "Kustomization"}

deploy = pathlib.Path(sys.argv[1])
wrong = []


def documents(file):
    return [document for document in yaml.safe_load_all(file.read_text()) if document is not None]


def kubernetes():
    count = 0
    for file in sorted((deploy / "kubernetes").rglob("*.yaml")):
        # A patch is no whole object: it is judged by what it is put upon.
        if file.parent.name == "production" and file.name != "kustomization.yaml":
            continue
        for document in documents(file):
            if document["kind"] in ELSEWHERE:
                continue
            for version in VERSIONS:
                try:
                    kubernetes_validate.validate(document, version, strict=True)
                    count += 1
                except kubernetes_validate.ValidationError as error:
                    path = ".".join(str(part) for part in error.path)
                    wrong.append(f"{file}: Kubernetes {version}: {path}: {error.message}")
                except (kubernetes_validate.VersionNotSupportedError, kubernetes_validate.InvalidSchemaError) as error:
                    wrong.append(f"{file}: Kubernetes {version}: {error}")
    return count


def kustomizations():
    for file in sorted((deploy / "kubernetes").rglob("kustomization.yaml")):
        (settings,) = documents(file)
        named = set(settings["resources"]) | {patch["path"] for patch in settings.get("patches", [])}
        for name in named:
            if not (file.parent / name).exists():
                wrong.append(f"{file}: {name} is not there")
        beside = {other.name for other in file.parent.glob("*.yaml")} - {"kustomization.yaml"}
        for name in beside - named:
            wrong.append(f"{file}: {name} is there, and nobody names it")
    names = {(d["kind"], d["metadata"]["name"]) for f in (deploy / "kubernetes/base").glob("*.yaml")
             for d in documents(f) if d["kind"] != "Kustomization"}
    for file in (deploy / "kubernetes/overlays").rglob("*.yaml"):
        for patch in documents(file):
            if patch["kind"] != "Kustomization" and (patch["kind"], patch["metadata"]["name"]) not in names:
                wrong.append(f"{file}: nothing to patch in the base")


def merge(whole, patch):
    """Puts a patch upon an object, lists of named things by their names, as Kubernetes does."""
    for key, value in patch.items():
        there = whole.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            merge(there, value)
        elif isinstance(value, list) and isinstance(there, list) and all("name" in item for item in value):
            for item in value:
                match = next((other for other in there if other["name"] == item["name"]), None)
                merge(match, item) if match else there.append(item)
        else:
            whole[key] = value


def overlays():
    for file in sorted((deploy / "kubernetes/overlays").rglob("*.yaml")):
        for patch in documents(file):
            for base in (deploy / "kubernetes/base").glob("*.yaml"):
                for whole in documents(base):
                    if whole["kind"] == patch["kind"] != "Kustomization":
                        merge(whole, patch)
                        try:
                            kubernetes_validate.validate(whole, VERSIONS[-1], strict=True)
                        except kubernetes_validate.ValidationError as error:
                            wrong.append(f"{file} on {base.name}: {error.message}")


def shutdown():
    """Whoever stops the worker waits for longer than it takes to end."""
    (settings,) = documents(deploy / "kubernetes/base/config.yaml")
    grace = int(settings["data"]["SHUTDOWN_GRACE"].rstrip("s"))
    (deployment,) = documents(deploy / "kubernetes/base/deployment.yaml")
    compose = documents(deploy / "compose.yaml")[0]["services"]["worker"]["stop_grace_period"]
    unit = re.search(r"^TimeoutStopSec=(\d+)s$", (deploy / "systemd/imin-customer-worker.service").read_text(), re.M)
    for where, wait in [
        ("kubernetes", deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]),
        ("compose", int(compose.rstrip("s"))),
        ("systemd", int(unit[1])),
    ]:
        if wait <= grace:
            wrong.append(f"{where} kills the worker after {wait}s, which may take {grace}s to end")


def compose():
    file = deploy / "compose.yaml"
    try:
        specification = compose_spec.PyCompose.from_yaml(file.read_text())
        specification.validate()
        specification.to_spec()
    except Exception as error:  # The library has no base class of its own for what it raises.
        wrong.append(f"{file}: {error}")
        return
    for service in documents(file)[0]["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith(".") and not (deploy / source).exists():
                wrong.append(f"{file}: {source} is not there")


count = kubernetes()
kustomizations()
overlays()
shutdown()
compose()
for line in wrong:
    print(line, file=sys.stderr)
if wrong:
    sys.exit(1)
print(f"manifests: {count} verdicts on Kubernetes objects ({' and '.join(VERSIONS)}), Kustomizations and compose.yaml: valid")
