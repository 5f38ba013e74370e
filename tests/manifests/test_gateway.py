"""The example of a gateway: what it lets in, and that it fits the pods of a model.

Kinds that Kubernetes does not have are held against https://cloud.google.com/kubernetes-engine/docs/how-to/secure-gateway
and …/configure-gateway-resources.
"""

from __future__ import annotations

import kubernetes_validate

from serving.manifests import Object, for_version
from tests.manifests.rendering import MANIFESTS, OVERLAYS, rendered

GATEWAY = MANIFESTS / "gateway"
PRODUCTION = next(overlay for overlay in OVERLAYS if overlay.name == "production")


def one(kind: str) -> Object:
    [found] = [each for each in rendered(GATEWAY) if each["kind"] == kind]
    return found


def served(kind: str) -> Object:
    """The objects of the model that it leads to, as a rollout makes them."""
    objects = for_version(rendered(PRODUCTION), "taxi", 3, track="stable", models_path="gs://bucket/models")
    return next(each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, "taxi-serving"))


def test_gateway_takes_https_alone_with_a_certificate() -> None:
    gateway = one("Gateway")
    assert [(each["protocol"], each["port"]) for each in gateway["spec"]["listeners"]] == [("HTTPS", 443)]
    assert gateway["metadata"]["annotations"]["networking.gke.io/certmap"]
    assert gateway["spec"]["listeners"][0]["allowedRoutes"]["namespaces"] == {"from": "Same"}


def test_gateway_offers_predictions_and_nothing_else() -> None:
    route = one("HTTPRoute")["spec"]
    assert route["parentRefs"] == [{"name": one("Gateway")["metadata"]["name"], "sectionName": "https"}]
    [rule] = route["rules"]
    path = {"type": "Exact", "value": "/v1/models/taxi:predict"}
    assert rule["matches"] == [{"method": "POST", "path": path}]
    [backend] = rule["backendRefs"]
    service = served("Service")
    assert backend["name"] == service["metadata"]["name"]
    assert {"name": "rest", "port": backend["port"]}.items() <= service["spec"]["ports"][1].items()


def test_gateway_asks_everybody_who_he_is() -> None:
    policy = one("GCPBackendPolicy")["spec"]
    assert policy["default"]["iap"]["enabled"] is True
    assert policy["default"]["iap"].keys() == {"enabled", "clientID", "oauth2ClientSecret"}
    [rule] = one("HTTPRoute")["spec"]["rules"]
    assert policy["targetRef"]["name"] == rule["backendRefs"][0]["name"]


def test_health_checks_ask_what_a_ready_pod_answers_and_pass_the_network_policy() -> None:
    health = one("HealthCheckPolicy")["spec"]
    check = health["default"]["config"]["httpHealthCheck"]
    pod = served("Deployment")["spec"]["template"]
    probe = next(each["readinessProbe"] for each in pod["spec"]["containers"] if each["name"] == "request-logger")[
        "httpGet"
    ]
    assert check["requestPath"] == probe["path"].replace("/versions/3", "")
    assert health["targetRef"]["name"] == served("Service")["metadata"]["name"]
    policy = one("NetworkPolicy")
    kubernetes_validate.validate(policy, "1.29", strict=True)
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    [rule] = policy["spec"]["ingress"]
    # https://cloud.google.com/load-balancing/docs/firewall-rules: of checks, and of Google's front ends.
    assert {each["ipBlock"]["cidr"] for each in rule["from"]} == {"35.191.0.0/16", "130.211.0.0/22"}
    assert rule["ports"] == [{"port": check["port"]}]


def test_gateway_is_where_the_model_is() -> None:
    assert {each["metadata"]["namespace"] for each in rendered(GATEWAY)} == {served("Service")["metadata"]["namespace"]}
