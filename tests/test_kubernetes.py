"""The files for Kubernetes: right by schema, and every name that one part uses of another is there."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from sprite_search.space import load_space

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "infra" / "kubernetes"
PROGRAMS = ROOT / "infra" / "docker" / "bin"
SCHEMA = yaml.safe_load((Path(__file__).parent / "rayjob_schema.yaml").read_text())
VERSIONS = ("1.29", "1.37")  #: of Kubernetes: the oldest that the README names, the newest with a schema


def documents(folder):
    """All objects of a folder's files, as they are written."""
    found = []
    for file in sorted(folder.glob("*.yaml")):
        if file.name not in ("kustomization.yaml", "references.yaml", "space.yaml"):
            found += [d for d in yaml.safe_load_all(file.read_text()) if d]
    return found


SERVICES, STUDY = documents(FOLDER / "services"), documents(FOLDER / "study")
(RAYJOB,) = STUDY
CLUSTER = RAYJOB["spec"]["rayClusterSpec"]
(WORKERS,) = CLUSTER["workerGroupSpecs"]


def of_kind(*kinds):
    return {d["metadata"]["name"]: d for d in SERVICES if d["kind"] in kinds}


#: Pod templates by name.
PODS = {name: d["spec"]["template"] for name, d in of_kind("Deployment", "StatefulSet").items()} | {
    "driver": CLUSTER["headGroupSpec"]["template"],
    "worker": WORKERS["template"],
    "submitter": RAYJOB["spec"]["submitterPodTemplate"],
}


def containers(pod):
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def settings():
    """NAME: the keys of every Secret, as the README makes them."""
    readme = (FOLDER / "README.md").read_text()
    found = {}
    for names, template, file in re.findall(
        r"for name in ([A-Z_ ]+); do echo \"(.+?)=\$.*?services/(\w+)\.env", readme
    ):
        keys = [re.sub(r"\$\{?name\}?", name, template) for name in names.split()]
        found[file] = set(keys)
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("document", SERVICES, ids=lambda d: f"{d['kind']}/{d['metadata']['name']}")
def test_objects_fit_the_schemas_of_kubernetes(document, version):
    kubernetes_validate.validate(document, version, strict=True)


def problems_of_rayjob(document):
    return [e.message for e in jsonschema.Draft202012Validator(SCHEMA).iter_errors(document)]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_rayjob_fits_the_schemas_of_kuberay_and_of_kubernetes(version):
    assert problems_of_rayjob(RAYJOB) == []
    autoscaler = {
        "name": "autoscaler",
        **{k: CLUSTER["autoscalerOptions"][k] for k in ("resources", "securityContext")},
    }
    for template in (*(PODS[n] for n in ("driver", "worker", "submitter")), {"spec": {"containers": [autoscaler]}}):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, **template}
        kubernetes_validate.validate(pod, version, strict=True)


def test_the_schemas_find_mistakes():
    wrong = yaml.safe_load(yaml.safe_dump(RAYJOB))
    wrong["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] = 0
    wrong["spec"]["shutDownAfterJobFinishes"] = True
    assert len(problems_of_rayjob(wrong)) == 2
    service = yaml.safe_load(yaml.safe_dump(of_kind("Service")["mlflow"]))
    service["spec"]["port"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, VERSIONS[0], strict=True)


@pytest.mark.parametrize("name", PODS)
def test_pods_have_no_rights_that_they_do_not_need(name):
    spec = PODS[name]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    # the autoscaler beside the driver asks Kubernetes for machines
    assert name == "driver" or spec["automountServiceAccountToken"] is False
    for container in containers(PODS[name]):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False and context["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"] and container["resources"]["requests"]


@pytest.mark.parametrize("name", of_kind("Deployment", "StatefulSet"))
def test_every_service_is_probed(name):
    for container in PODS[name]["spec"]["containers"]:
        ports = {p["name"] for p in container["ports"]}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = container[probe]
            assert "exec" in asked or asked["httpGet"]["port"] in ports


@pytest.mark.parametrize("name", PODS)
def test_everything_that_a_pod_refers_to_exists(name):
    secrets, pod = settings(), PODS[name]
    kustomization = yaml.safe_load((FOLDER / "services" / "kustomization.yaml").read_text())
    assert {g["name"] for g in kustomization["secretGenerator"]} == set(secrets)
    maps = {g["name"] for g in kustomization["configMapGenerator"]}
    study = yaml.safe_load((FOLDER / "my-study" / "kustomization.yaml").read_text())
    maps |= {g["name"] for g in study["configMapGenerator"]}
    claims = set(of_kind("PersistentVolumeClaim"))
    volumes = {v["name"] for v in pod["spec"].get("volumes", [])}
    owner = of_kind("StatefulSet").get(name, {"spec": {}})["spec"]
    volumes |= {c["metadata"]["name"] for c in owner.get("volumeClaimTemplates", [])}
    for volume in pod["spec"].get("volumes", []):
        assert volume.get("configMap", {}).get("name") in maps | {None}
        assert volume.get("persistentVolumeClaim", {}).get("claimName") in claims | {None}
    for container in containers(pod):
        assert {m["name"] for m in container.get("volumeMounts", [])} <= volumes
        assert {s["secretRef"]["name"] for s in container.get("envFrom", [])} <= set(secrets)
        known = {k for s in container.get("envFrom", []) for k in secrets[s["secretRef"]["name"]]}
        for entry in container.get("env", []):
            if reference := entry.get("valueFrom", {}).get("secretKeyRef"):
                assert reference["key"] in secrets[reference["name"]]
            assert set(re.findall(r"\$\((\w+)\)", entry.get("value", ""))) <= known, "must be set before it is used"
            known.add(entry["name"])
        for argument in container.get("args", []):
            assert set(re.findall(r"\$\((\w+)\)", argument)) <= known


def test_services_lead_to_pods():
    for name, service in of_kind("Service").items():
        chosen = [p for p in PODS.values() if matches({"matchLabels": service["spec"]["selector"]}, p)]
        assert len(chosen) == 1, name
        ports = {p["name"] for c in containers(chosen[0]) for p in c.get("ports", [])}
        assert {p["targetPort"] for p in service["spec"]["ports"]} <= ports
    for name, owner in of_kind("Deployment", "StatefulSet").items():
        assert matches(owner["spec"]["selector"], PODS[name])
        assert owner["spec"].get("serviceName", name) in of_kind("Service")


# -- the network ------------------------------------------------------------------------------------


def matches(selector, pod):
    return selector.get("matchLabels", {}).items() <= pod["metadata"]["labels"].items()


def allows(direction, pod, other, port):
    """Whether a rule lets a pod send to (Egress) or receive from (Ingress) another pod, as NetworkPolicies add up."""
    policies = [p["spec"] for p in of_kind("NetworkPolicy").values() if matches(p["spec"]["podSelector"], pod)]
    policies = [p for p in policies if direction in p["policyTypes"]]
    assert policies, "a pod without a policy may do everything"
    peers = {"Egress": "to", "Ingress": "from"}[direction]
    return any(
        (
            peers not in rule
            or any(matches(p["podSelector"], other) for p in rule[peers] if "namespaceSelector" not in p)
        )
        and ("ports" not in rule or port in [p["port"] for p in rule["ports"]])
        for policy in policies
        for rule in policy.get(direction.lower(), [])
    )


def may_call(client, server, port):
    return allows("Egress", PODS[client], PODS[server], port) and allows("Ingress", PODS[server], PODS[client], port)


def called(pod):
    """(server, port) of every address in a pod's settings and arguments."""
    for container in containers(pod):
        said = [e.get("value", "") for e in container.get("env", [])] + container.get("args", [])
        for text in said:
            yield from ((host, int(port)) for host, port in re.findall(r"(?:://|@)([a-z]+):(\d+)", text))


@pytest.mark.parametrize("name", PODS)
def test_what_a_pod_calls_exists_and_the_network_lets_it(name):
    for server, port in called(PODS[name]):
        assert port in [p["port"] for p in of_kind("Service")[server]["spec"]["ports"]]
        assert may_call(name, server, port), f"{name} cannot reach {server}:{port}"


def test_nothing_else_is_reached():
    ports = {n: s["spec"]["ports"][0]["port"] for n, s in of_kind("Service").items()}
    reached = {(c, s) for c in PODS for s, port in ports.items() if may_call(c, s, port)}
    assert reached == {(c, s) for c in PODS for s, _ in called(PODS[c])}
    assert {s for c, s in reached if c == "worker"} == {"store"}, "workers run what studies ask for"
    assert not any(s in ("submitter", "store") for s, _ in reached)
    assert (
        may_call("driver", "worker", 12345)
        and may_call("worker", "driver", 6379)
        and may_call("submitter", "driver", 8265)
    )


def test_workers_know_no_database():
    told = yaml.safe_dump(PODS["worker"])
    assert "databases" not in told and "SPRITE_STUDY_STORE" not in told and "MLFLOW" not in told


# -- studies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["driver", "worker"])
def test_what_runs_before_a_pod_ends_is_in_the_image_and_has_the_time(part):
    spec = PODS[part]["spec"]
    (container,) = spec["containers"]
    program, *seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert (PROGRAMS / program).exists()
    assert all(int(s) < spec["terminationGracePeriodSeconds"] for s in seconds)


def test_the_entrypoint_is_a_command_of_ours():
    from sprite_search.cli import main

    program, command, space, *options = shlex.split(RAYJOB["spec"]["entrypoint"])
    assert (program, command) == ("sprite-search", "launch")
    given = main.commands[command].make_context(command, [space, *options]).params
    mounts = {m["mountPath"] for m in PODS["driver"]["spec"]["containers"][0]["volumeMounts"]}
    assert str(Path(space).parent) in mounts
    loaded = load_space(
        ROOT / "search_spaces" / "multi_dsprites.yaml", overrides=dict(given["overrides"]), cluster=True
    )
    gpus = int(PODS["worker"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"])
    assert loaded.resources.gpu > 0, "the cluster has GPUs, though the driver has none"
    assert loaded.resources.at_once <= WORKERS["maxReplicas"] * gpus / loaded.resources.gpu


@pytest.mark.parametrize("spot", ["spot-gke", "spot-eks"])
def test_kustomize_makes_a_study_and_its_services(tmp_path, spot):
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    shutil.copytree(FOLDER, tmp_path / "k")
    for name, keys in settings().items():
        (tmp_path / "k" / "services" / f"{name}.env").write_text("".join(f"{k}=x\n" for k in keys))
    shutil.copy(ROOT / "search_spaces" / "multi_dsprites.yaml", tmp_path / "k" / "my-study" / "space.yaml")
    study = tmp_path / "k" / "my-study" / "kustomization.yaml"
    study.write_text(study.read_text().replace("[../spot-gke]", f"[../{spot}]"))

    def build(folder):
        done = subprocess.run(["kubectl", "kustomize", tmp_path / "k" / folder], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return list(yaml.safe_load_all(done.stdout))

    services, study = build("services"), build("my-study")
    for document in (*services, *study):
        assert document["metadata"].get("namespace", "sprite-search") == "sprite-search"
        if document["kind"] != "RayJob":
            kubernetes_validate.validate(document, VERSIONS[0], strict=True)
    (job,), (space,) = ([d for d in study if d["kind"] == kind] for kind in ("RayJob", "ConfigMap"))
    assert problems_of_rayjob(job) == [] and job["metadata"]["name"].startswith("my-study-")
    template = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    used = next(v["configMap"]["name"] for v in template["volumes"] if "configMap" in v)
    assert used == space["metadata"]["name"] and list(space["data"]) == ["space.yaml"]
    assert "SPOT" in str(job).upper() and template["containers"][0]["image"].count(":") == 1
