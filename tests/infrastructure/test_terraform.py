"""infrastructure/, parsed: what it names exists, nobody gets more than is needed, and it agrees with the rest.

`terraform validate` needs the provider, and so a network. provider_arguments.json has the names that version 6.50 of it
takes, for the resources that are used: a new resource needs its line there.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from delivery.environment import Environment
from serving.manifests import object_name
from settings.load import load_settings
from settings.schema import Settings
from tests.docs.pages import shell_blocks
from tests.infrastructure.terraform import FILES, FOLDER, PROJECT, blocks, code, local_values, parsed, resources


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_file_parses_and_is_formatted(path: Path) -> None:
    assert parsed(path)
    text = path.read_text()
    assert "\t" not in text
    assert text.endswith("\n")
    assert not re.search(r" +$|\n\n\n", text, re.MULTILINE)
    assert all((len(line) - len(line.lstrip(" "))) % 2 == 0 for line in text.splitlines())


@pytest.mark.skipif(not shutil.which("terraform"), reason="no terraform here")
def test_files_are_as_terraform_formats_them() -> None:
    done = subprocess.run(["terraform", "fmt", "-check", "-diff", FOLDER], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not shutil.which("terraform"), reason="no terraform here")
def test_tfvars_that_the_guide_writes_are_as_ci_wants_them(tmp_path: Path) -> None:
    (tmp_path / "infrastructure").mkdir()
    blocks_of_page = "\n".join(shell_blocks(PROJECT / "docs" / "vertex.md"))
    writes = r"^(?:cat > .*?^END|sed -e .*?tfvars|echo .*?tfvars|terraform \S+ fmt)$"
    lines = [found[0] for found in re.finditer(writes, re.sub("  +#.*", "", blocks_of_page), re.DOTALL | re.MULTILINE)]
    script = "\n".join(["PROJECT=p REGION=europe-west1 BUCKET=b", *lines])
    subprocess.run(["bash", "-euc", script], cwd=tmp_path, check=True, capture_output=True)
    assert {path.stem for path in tmp_path.rglob("*.tfvars")} == {"staging", "production"}
    assert 'environment          = "production"' in (tmp_path / "infrastructure/production.tfvars").read_text()
    subprocess.run(["terraform", "fmt", "-check", "infrastructure"], cwd=tmp_path, check=True, capture_output=True)


def test_lock_names_the_provider_that_the_configuration_asks_for() -> None:
    lock = (FOLDER / ".terraform.lock.hcl").read_text()
    versions = (FOLDER / "versions.tf").read_text()
    assert re.findall(r'^provider "(.+)"', lock, re.MULTILINE) == ["registry.terraform.io/hashicorp/google"]
    [asked] = re.findall(r'version = "(~> .+)"', versions)
    assert f'constraints = "{asked}"' in lock
    assert 'version     = "6.50.0"' in lock
    # One checksum of a zip for each of the platforms that HashiCorp releases for: all that `init` may be run on.
    assert len(set(re.findall(r'"zh:[0-9a-f]{64}"', lock))) == 12


@pytest.mark.skipif(not shutil.which("terraform"), reason="no terraform here")
def test_terraform_reads_the_lock() -> None:
    shown = subprocess.run(
        ["terraform", f"-chdir={FOLDER}", "version", "-json"], capture_output=True, text=True, check=True
    )
    assert json.loads(shown.stdout)["provider_selections"] == {"registry.terraform.io/hashicorp/google": "6.50.0"}


def test_variables_are_described_typed_and_used() -> None:
    used = set(re.findall(r"\bvar\.(\w+)", code().split("# outputs")[0]))
    outside = "\n".join(path.read_text() for path in FILES if path.name != "variables.tf")
    assert used == set(blocks("variable"))
    assert set(re.findall(r"\bvar\.(\w+)", outside)) == used, "a variable that only its own validation uses"
    for name, variable in blocks("variable").items():
        assert variable["type"], name
        assert variable["description"].endswith("."), name


def test_variables_of_text_and_sets_are_validated() -> None:
    unchecked = {
        name
        for name, variable in blocks("variable").items()
        if "validation" not in variable and "bool" not in variable["type"]
    }
    assert unchecked == set()


def test_outputs_are_described() -> None:
    assert all(output["description"] for output in blocks("output").values())


def test_local_values_and_resources_that_are_named_exist() -> None:
    known = local_values()
    assert set(re.findall(r"\blocal\.(\w+)", code())) == set(known)
    named = set(re.findall(r"\b(google_\w+\.\w+)", re.sub(r'resource "\w+" "\w+"', "", code())))
    assert named - {"google_service_account.account_id"} <= set(resources())


PROVIDER = json.loads((Path(__file__).parent / "provider_arguments.json").read_text())
META = {"count", "for_each", "depends_on", "lifecycle", "provider"}


@pytest.mark.parametrize("name", resources())
def test_resource_has_arguments_that_the_provider_takes(name: str) -> None:
    def check(path: str, given: dict[str, Any]) -> None:
        known = PROVIDER[path]
        assert set(given) - META - {"dynamic"} <= set(known["takes"]), path
        assert set(known["needs"]) <= set(given), path
        for argument, value in given.items():
            for block in value if isinstance(value, list) else []:
                if isinstance(block, dict):
                    check(f"{path}.{argument}", block)

    check(name.partition(".")[0], resources()[name])


def test_resources_that_may_be_missing_are_named_by_index() -> None:
    counted = {name for name, arguments in resources().items() if "count" in arguments}
    assert len(counted) == 8
    for name in counted:
        others = [match.group() for match in re.finditer(rf"{re.escape(name)}\b(?!\[0\]).*", code())]
        assert all("depends_on" in one or one.endswith("]") for one in others), others


def test_nobody_has_a_key_a_basic_role_or_the_right_to_grant() -> None:
    assert not any(kind.startswith("google_service_account_key") for kind in resources())
    assert "allUsers" not in code()
    assert "allAuthenticatedUsers" not in code()
    roles = set(re.findall(r'"(roles/[\w.]+)"', code()))
    assert len(roles) > 10
    basic = {"roles/owner", "roles/editor", "roles/viewer"}
    assert {role for role in roles if role in basic or role.lower().endswith("admin")} == set()
    assert "serviceAccountTokenCreator" not in code()
    # A member of a policy is added; a policy or a binding would take others' away.
    assert not [name for name in resources() if re.search(r"_iam_(policy|binding)\.", name)]


def test_buckets_are_private_and_what_is_kept_is_versioned() -> None:
    for name in ("home", "builds"):
        bucket = resources()[f"google_storage_bucket.{name}"]
        assert (bucket["uniform_bucket_level_access"], bucket["public_access_prevention"]) == (True, "enforced")
        assert bucket["lifecycle_rule"]
    home = resources()["google_storage_bucket.home"]
    assert home["versioning"] == [{"enabled": True}]
    removed = {one["condition"][0].get("matches_prefix", [""])[0] for one in home["lifecycle_rule"]}
    assert {"checkpoints/", "requests/", "tuning/"} <= removed


def grants(account: str) -> dict[str, str]:
    """Folder to role, of one account; `*` for the whole bucket."""
    text = (FOLDER / "storage.tf").read_text()
    grant = rf'folder = "?(\w+)"?, member = google_service_account\.{account}\.member, role = "([\w./]+)"'
    found = dict(re.findall(grant, text))
    reader = re.search(r'"google_storage_bucket_iam_member" "reader".*?^}', text, re.DOTALL | re.MULTILINE)
    assert reader
    if f"google_service_account.{account}.member" in reader.group():
        found["*"] = re.findall(r'role += "([\w./]+)"', reader.group())[0]
    return found


def test_operators_may_do_what_the_runbooks_ask_of_them() -> None:
    folders = re.search(r"for each in setproduct\(\[(.*?)\], var\.operators\)", code())
    assert folders
    assert set(re.findall(r"\w+", folders[1])) == {"arguments", "console", "data", "manifests", "models", "requests"}
    assert resources()["google_project_iam_member.operator"]["role"] == "roles/container.clusterViewer"


def test_serving_reads_models_adds_requests_and_sees_nothing_else() -> None:
    assert grants("serving") == {"models": "roles/storage.objectViewer", "requests": "roles/storage.objectCreator"}
    # It stands in no other grant, of the bucket or of the project.
    assert code().count("google_service_account.serving.member") == 2


def test_job_of_staging_reads_models_and_nothing_else_of_the_bucket() -> None:
    """`make smoke` compares what serves with what the store has; it runs as the account that starts builds."""
    assert grants("deployer") == {"models": "roles/storage.objectViewer"}
    assert 'for name in var.environment == "staging" ? ["deployer-models"] : [] :' in code()


def test_kubeflows_ui_reads_artifacts_and_nothing_else() -> None:
    assert grants("ui") == {"artifacts": "roles/storage.objectViewer"}
    assert code().count("google_service_account.ui.member") == 1


def test_metrics_of_the_monitor_read_what_they_show_as_the_account_that_the_manifests_name() -> None:
    viewer = "roles/storage.objectViewer"
    text = (FOLDER / "storage.tf").read_text()
    assert text.count("google_service_account.metrics.member") == code().count("google_service_account.metrics.member")
    assert grants("metrics") == dict.fromkeys(("monitoring", "models", "runs"), viewer)
    account = manifest("monitor-metrics/base/service-account.yaml")["metadata"]
    google = resources()["google_service_account.metrics"]["account_id"]
    assert account["annotations"]["iam.gke.io/gcp-service-account"].partition("@")[0] == google
    assert f'subject = "${{local.namespace}}/{account["name"]}"' in code()


def test_nodes_pull_images_and_write_logs_and_may_do_nothing_else() -> None:
    """Autopilot takes its nodes' account here: hashicorp/terraform-provider-google, pull request 13024."""
    defaults = resources()["google_container_cluster.serving"]["cluster_autoscaling"][0]["auto_provisioning_defaults"][
        0
    ]
    assert defaults["service_account"] == "${google_service_account.nodes.email}"
    assert code().count("google_service_account.nodes") == 3
    assert '{ name = "nodes", role = "roles/container.defaultNodeServiceAccount" }' in code()
    assert (
        'nodes    = { member = google_service_account.nodes.member, role = "roles/artifactregistry.reader" }' in code()
    )


def test_pipeline_adds_models_and_replaces_none() -> None:
    assert grants("pipeline")["models"] == "roles/storage.objectCreator"
    assert grants("pipeline")["*"] == "roles/storage.objectViewer"
    stages = resources()["google_storage_managed_folder_iam_member.stages"]
    assert stages["condition"][0]["expression"] == 'resource.name.endsWith("/.state.json")'
    assert "google_storage_bucket_iam_member.mounter" in resources()


def test_folders_are_all_that_the_command_writes_to() -> None:
    locations = vars(Environment(None, Settings(remote_home="gs://b")).remote)
    uris = [uri for value in locations.values() for uri in ([value] if isinstance(value, str) else value)]
    needed = {uri.removeprefix("gs://b/") for uri in uris}
    folders = set(re.findall(r'"(\w+)"', code().split("folders = toset([")[1].split("])")[0]))
    assert needed | {"artifacts", "deployments", "manifests", "requests", "samples"} == folders


@pytest.mark.parametrize(
    ("account", "folders"),
    [
        ("pipeline", {"artifacts", "batch", "beam", "checkpoints", "runs", "sources", "tuning"}),
        ("monitor", {"artifacts", "monitoring", "runs"}),
        ("build", {"beam", "manifests", "monitoring", "prepared"}),
    ],
)
def test_accounts_may_write_again_what_is_theirs(account: str, folders: set[str]) -> None:
    """So no training writes the monitor's state, and no monitor the training that it may start."""
    text = (FOLDER / "storage.tf").read_text()
    grant = rf'for folder in \[([^\]]*?)\] :\s+"{account}-\$\{{folder\}}" => \{{[^}}]*?role = "([\w./]+)"'
    written = [names for names, role in re.findall(grant, text) if role == "roles/storage.objectUser"]
    assert [set(re.findall(r'"(\w+)"', names)) for names in written] == [folders]


def test_monitor_starts_trainings_as_the_pipelines_account_and_adds_no_model() -> None:
    acts = {name: (its["account"], its["member"]) for name, its in
            resources()["google_service_account_iam_member.acts_as"]["for_each"].items()}  # fmt: skip
    monitor = "${google_service_account.monitor.member}"
    assert {name for name, (_, member) in acts.items() if member == monitor} == {"monitor-monitor", "monitor-pipeline"}
    assert acts["monitor-pipeline"][0] == "${google_service_account.pipeline.name}"
    assert '{ name = "monitor", role = "roles/aiplatform.user" }' in code()
    assert grants("monitor")["*"] == "roles/storage.objectViewer"
    assert "models" not in grants("monitor")


def test_github_is_believed_for_one_repository_and_one_branch() -> None:
    provider = resources()["google_iam_workload_identity_pool_provider.github"]
    # By number: whoever takes over the name of a repository has another.
    repository, branch = 'assertion.repository_id == "${var.github_repository_id}"', '"refs/heads/${var.github_branch}"'
    assert provider["attribute_condition"] == f"{repository} && assertion.ref == {branch}"
    assert provider["oidc"] == [{"issuer_uri": "https://token.actions.githubusercontent.com"}]
    subject = "principal://iam.googleapis.com/${google_iam_workload_identity_pool.github.name}/subject/repo:"
    members = {
        name: resources()[f"google_service_account_iam_member.{name}"]["member"] for name in ("deployer", "planner")
    }
    assert members == {
        "deployer": subject + "${var.github_repository}:environment:${var.environment}",
        "planner": subject + "${var.github_repository}:ref:refs/heads/${var.github_branch}",
    }
    assert code().count("iam.googleapis.com/$") == 2


def manifest(path: str) -> Any:
    return yaml.safe_load((PROJECT / "manifests" / path).read_text())


def test_cluster_accounts_are_those_of_the_manifests() -> None:
    for who in ("pipeline", "monitor"):
        steps = manifest(f"{who}-account/base/service-account.yaml")["metadata"]
        for environment in ("staging", "production"):
            kustomization = manifest(f"{who}-account/{environment}/kustomization.yaml")
            named = steps["name"] + kustomization.get("nameSuffix", "")
            assert kustomization["namespace"] == blocks("variable")["pipeline_namespace"]["default"]
            assert named == local_values()[f"{who}_service_account"].replace("${var.environment}", environment)
        google = resources()[f"google_service_account.{who}"]["account_id"]
        assert steps["annotations"]["iam.gke.io/gcp-service-account"].partition("@")[0] == google
    account = manifest("base/service-account.yaml")["metadata"]["name"]
    assert account == "model-serving"
    assert object_name("big_tips") + account.removeprefix("model") == "big-tips-serving"
    assert '${local.namespace}/${replace(name, "_", "-")}-serving' in code()
    for environment in ("staging", "production"):
        namespace = local_values()["namespace"].replace("${var.environment}", environment)
        assert manifest(f"overlays/{environment}/kustomization.yaml")["namespace"] == namespace
    annotated = manifest("components/gcs/service-account.yaml")["metadata"]["annotations"]
    google = resources()["google_service_account.serving"]["account_id"]
    assert annotated["iam.gke.io/gcp-service-account"].partition("@")[0] == google


def test_settings_output_has_keys_that_the_settings_know() -> None:
    def filled(value: Any) -> Any:
        return {key: filled(its) for key, its in value.items()} if isinstance(value, dict) else "x"

    settings = Settings.model_validate(filled(local_values()["settings"]))
    assert settings.vertex.project == settings.kubeflow.service_account == "x"
    assert blocks("output")["settings"]["value"] == "${yamlencode(local.settings)}"
    for environment in ("staging", "production"):
        assert load_settings(environment).serving.overlay == environment


def test_github_outputs_are_the_variables_of_the_workflow() -> None:
    workflow = (PROJECT / ".github" / "workflows" / "deploy.yaml").read_text()
    wanted = set(re.findall(r"vars\.(\w+)", workflow))
    given = set(blocks("output")["github_variables"]["value"])
    assert given <= wanted
    # Addresses of what serves are known once it does.
    assert wanted - given == {"SERVING_REST", "SERVING_GRPC", "STAGING_RUNNER"}
    assert set(blocks("output")["github_repository_variables"]["value"]) <= given


def test_readme_names_every_variable_and_output() -> None:
    readme = (FOLDER / "README.md").read_text()
    for name in [*blocks("variable"), *blocks("output")]:
        assert f"`{name}`" in readme, name
