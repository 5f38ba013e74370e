"""What kubernetes-validate does not see: which pods a selector picks, and whether what an object names is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from serving.manifests import INSTANCE, TRACK, VERSION, Object, containers

NAME = "app.kubernetes.io/name"  # of the program: the model server, or the page that asks it
# The platform's own: a claim on a volume with the models.
EXTERNAL_CLAIMS = {"models"}


def selector_problems(objects: list[Object]) -> Iterator[str]:
    """Selectors that pick other pods than those of the object's model and track, or that name a version."""
    deployments = [each for each in objects if each["kind"] == "Deployment"]
    for each in objects:
        for what, labels, wanted in _selectors(each):
            if VERSION in labels or not labels:
                yield f"{what}: {labels} changes with a version, or picks everything"
            picked = {_name(one) for one in deployments if labels.items() <= _pod(one)["labels"].items()}
            meant = {_name(one) for one in deployments if wanted.items() <= one["metadata"]["labels"].items()}
            if picked != meant or not meant:
                yield f"{what}: picks the pods of {sorted(picked)}, is meant for {sorted(meant)}"
    for deployment in deployments:
        if deployment["metadata"]["labels"].items() - _pod(deployment)["labels"].items():
            yield f"{_name(deployment)}: its pods lack some of its own labels"


def reference_problems(objects: list[Object]) -> Iterator[str]:
    """Names of objects, volumes and ports that nothing has, or two have."""
    present = Counter((each["kind"], _name(each)) for each in objects)
    yield from (f"{kind} {name} is there {count} times" for (kind, name), count in present.items() if count > 1)
    if len({each["metadata"].get("namespace") for each in objects}) > 1:
        yield "the objects are in several namespaces"
    for each in objects:
        if each["kind"] == "HorizontalPodAutoscaler":
            target = each["spec"]["scaleTargetRef"]
            same = [one for one in objects if (one["kind"], _name(one)) == (target["kind"], target["name"])]
            if [one["metadata"]["labels"][TRACK] for one in same] != [each["metadata"]["labels"][TRACK]]:
                yield f"{_name(each)}: scales {target['name']}, which is not its track's Deployment"
            yield from (f"{_name(one)}: replicas, though it is scaled" for one in same if "replicas" in one["spec"])
        if each["kind"] == "Deployment":
            wanted = set(_named(each)) - {("PersistentVolumeClaim", name) for name in EXTERNAL_CLAIMS}
            yield from (f"{_name(each)}: names {one}, which is not there" for one in wanted if one not in present)
            yield from (f"{_name(each)}: {problem}" for problem in _volume_problems(each))


def port_problems(objects: list[Object]) -> Iterator[str]:
    """Ports that a Service, a probe, a policy or Prometheus is pointed at and no container has."""
    deployments = [each for each in objects if each["kind"] == "Deployment"]
    for deployment in deployments:
        yield from (f"{_name(deployment)}: {problem}" for problem in _pod_port_problems(deployment))
    for service in (each for each in objects if each["kind"] == "Service"):
        for deployment in deployments:
            if service["spec"]["selector"].items() <= _pod(deployment)["labels"].items():
                names = {port["name"] for _, port in _ports(deployment)}
                for port in service["spec"]["ports"]:
                    if port["targetPort"] not in names:
                        yield f"{_name(service)}: {_name(deployment)} has no port {port['targetPort']}"
    for policy in (each for each in objects if each["kind"] == "NetworkPolicy"):
        admitted = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        for deployment in deployments:
            if policy["spec"]["podSelector"]["matchLabels"].items() <= _pod(deployment)["labels"].items():
                public = {port["containerPort"] for _, port in _ports(deployment) if "upstream" not in port["name"]}
                if admitted != public:
                    yield f"{_name(policy)}: admits {sorted(admitted)}, {_name(deployment)} offers {sorted(public)}"


def _selectors(each: Object) -> Iterator[tuple[str, Object, Object]]:
    """What it is, the labels it asks for, the labels of the Deployments that it is meant for."""
    kind, labels, spec = each["kind"], each["metadata"].get("labels", {}), each.get("spec", {})
    meant = {key: labels[key] for key in (NAME, INSTANCE, TRACK) if key in labels}
    if kind == "Service":
        yield f"Service {_name(each)}", spec["selector"], meant
    elif kind == "NetworkPolicy":
        yield f"NetworkPolicy {_name(each)}", spec["podSelector"].get("matchLabels", {}), meant
    elif kind in {"Deployment", "PodDisruptionBudget"}:
        yield f"{kind} {_name(each)}", spec["selector"]["matchLabels"], meant
    if kind == "Deployment":
        for spread in spec["template"]["spec"]["topologySpreadConstraints"]:
            yield f"spread of {_name(each)}", spread["labelSelector"]["matchLabels"], meant


def _named(deployment: Object) -> Iterator[tuple[str, str]]:
    pod = deployment["spec"]["template"]["spec"]
    if "serviceAccountName" in pod:
        yield "ServiceAccount", pod["serviceAccountName"]
    for volume in pod["volumes"]:
        if "configMap" in volume and not volume["configMap"].get("optional"):
            yield "ConfigMap", volume["configMap"]["name"]
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
    sources = (source for container in containers([deployment]) for source in container.get("envFrom", []))
    yield from (("ConfigMap", source["configMapRef"]["name"]) for source in sources if "configMapRef" in source)


def _volume_problems(deployment: Object) -> Iterator[str]:
    pod = deployment["spec"]["template"]["spec"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    mounted = {mount["name"] for container in containers([deployment]) for mount in container["volumeMounts"]}
    if volumes != mounted:
        yield f"volumes {sorted(volumes)}, mounted {sorted(mounted)}"


def _pod_port_problems(deployment: Object) -> Iterator[str]:
    ports = list(_ports(deployment))
    for field in ("name", "containerPort"):
        for value, count in Counter(port[field] for _, port in ports).items():
            if count > 1:
                yield f"two ports are {value}"
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        own = {port["name"] for name, port in ports if name == container["name"]}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            for asks in (container.get(probe, {}).get(how) for how in ("httpGet", "tcpSocket")):
                if asks and asks["port"] not in own:
                    yield f"{probe} of {container['name']} asks port {asks['port']}; it has {sorted(own)}"
    scraped = _pod(deployment).get("annotations", {}).get("prometheus.io/port")
    if scraped and scraped not in {str(port["containerPort"]) for _, port in ports if port["name"] == "rest"}:
        yield f"Prometheus is sent to port {scraped}"


def _ports(deployment: Object) -> Iterator[tuple[str, Object]]:
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        yield from ((container["name"], port) for port in container["ports"])


def _pod(deployment: Object) -> Object:
    metadata: Object = deployment["spec"]["template"]["metadata"]
    return metadata


def _name(each: Object) -> str:
    name: str = each["metadata"]["name"]
    return name
