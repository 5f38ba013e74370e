# One account for each kind of work. None has a key: clusters, Google's services and GitHub vouch for who uses them.

# As which all steps of a training work: Kubeflow and Vertex give a run one account, so who trains is who pushes.
resource "google_service_account" "pipeline" {
  account_id   = "slipway-pipeline"
  display_name = "Steps of Slipway's pipelines"

  depends_on = [google_project_service.used]
}

# As which the monitor's steps work, whose last one starts a training as the account above.
resource "google_service_account" "monitor" {
  account_id   = "slipway-monitor"
  display_name = "Steps of Slipway's monitor"

  depends_on = [google_project_service.used]
}

# As which TensorFlow Serving works; manifests/overlays name it.
resource "google_service_account" "serving" {
  account_id   = "model-serving"
  display_name = "Model servers"

  depends_on = [google_project_service.used]
}

# As which manifests/monitor-metrics reads what the monitor found.
resource "google_service_account" "metrics" {
  account_id   = "monitor-metrics"
  display_name = "Metrics of Slipway's monitor"

  depends_on = [google_project_service.used]
}

# As which Kubeflow's UI shows artifacts.
resource "google_service_account" "ui" {
  account_id   = "kubeflow-ui"
  display_name = "Kubeflow's UI"

  depends_on = [google_project_service.used]
}

# As which the nodes of a cluster that is made here pull images and write logs. Without it they would work as the
# project's default account, which is an editor in some projects and may do nothing in others.
resource "google_service_account" "nodes" {
  account_id   = "slipway-nodes"
  display_name = "Nodes of the cluster"

  depends_on = [google_project_service.used]
}

# As which Cloud Build carries plans out.
resource "google_service_account" "build" {
  account_id   = "slipway-build"
  display_name = "Slipway's builds"

  depends_on = [google_project_service.used]
}

# As which GitHub starts builds; it can do nothing else.
resource "google_service_account" "deployer" {
  account_id   = "slipway-deployer"
  display_name = "GitHub Actions: starts builds"

  depends_on = [google_project_service.used]
}

# As which GitHub plans; it can only look.
resource "google_service_account" "planner" {
  account_id   = "slipway-planner"
  display_name = "GitHub Actions: plans"

  depends_on = [google_project_service.used]
}

resource "google_project_iam_member" "granted" {
  for_each = {
    for grant in concat(
      # A run on Vertex starts the jobs of its own steps.
      [
        { name = "pipeline", role = "roles/aiplatform.user" },
        { name = "pipeline", role = "roles/logging.logWriter" },
        { name = "monitor", role = "roles/aiplatform.user" },
        { name = "monitor", role = "roles/logging.logWriter" },
        { name = "build", role = "roles/aiplatform.user" },
        { name = "build", role = "roles/logging.logWriter" },
        { name = "deployer", role = "roles/cloudbuild.builds.editor" },
        { name = "deployer", role = "roles/serviceusage.serviceUsageConsumer" },
      ],
      # To find the cluster and its API; what may be done in it is up to manifests/rollout-access.
      var.create_cluster || var.cluster != "" ? [
        { name = "pipeline", role = "roles/container.clusterViewer" },
        { name = "build", role = "roles/container.clusterViewer" },
      ] : [],
      var.create_cluster ? [{ name = "nodes", role = "roles/container.defaultNodeServiceAccount" }] : [],
      var.bigquery_dataset == "" ? [] : [
        { name = "pipeline", role = "roles/bigquery.jobUser" },
        { name = "pipeline", role = "roles/bigquery.readSessionUser" },
        { name = "monitor", role = "roles/bigquery.jobUser" },
        { name = "monitor", role = "roles/bigquery.readSessionUser" },
      ],
    ) : "${grant.name}-${grant.role}" => grant
  }

  project = var.project
  role    = each.value.role
  member = {
    build    = google_service_account.build.member
    deployer = google_service_account.deployer.member
    monitor  = google_service_account.monitor.member
    nodes    = google_service_account.nodes.member
    pipeline = google_service_account.pipeline.member
  }[each.value.name]
}

# To find the cluster and its API, as the accounts above; the runbooks of docs/operations.md begin there.
resource "google_project_iam_member" "operator" {
  for_each = var.create_cluster || var.cluster != "" ? var.operators : toset([])

  project = var.project
  role    = "roles/container.clusterViewer"
  member  = each.value
}

# Who may start work as whom.
resource "google_service_account_iam_member" "acts_as" {
  for_each = {
    deployer-build    = { account = google_service_account.build.name, member = google_service_account.deployer.member }
    build-pipeline    = { account = google_service_account.pipeline.name, member = google_service_account.build.member }
    build-monitor     = { account = google_service_account.monitor.name, member = google_service_account.build.member }
    monitor-monitor   = { account = google_service_account.monitor.name, member = google_service_account.monitor.member }
    monitor-pipeline  = { account = google_service_account.pipeline.name, member = google_service_account.monitor.member }
    pipeline-pipeline = { account = google_service_account.pipeline.name, member = google_service_account.pipeline.member }
  }

  service_account_id = each.value.account
  role               = "roles/iam.serviceAccountUser"
  member             = each.value.member
}

# Workload Identity: which of the cluster's service accounts is which of the above. A rollout names those of the model
# servers for their models: taxi-serving.
locals {
  namespace = "slipway-${var.environment}"
  # Of each environment, so that in a cluster of both no run of staging has production's rights.
  pipeline_service_account = "slipway-pipeline-${var.environment}"
  monitor_service_account  = "slipway-monitor-${var.environment}"

  workloads = merge(
    {
      pipeline = { account = google_service_account.pipeline.name, subject = "${var.pipeline_namespace}/${local.pipeline_service_account}" }
      monitor  = { account = google_service_account.monitor.name, subject = "${var.pipeline_namespace}/${local.monitor_service_account}" }
      metrics  = { account = google_service_account.metrics.name, subject = "${local.namespace}/monitor-metrics" }
      ui       = { account = google_service_account.ui.name, subject = var.ui_service_account }
    },
    {
      for name in var.models : "serving-${name}" => {
        account = google_service_account.serving.name
        subject = "${local.namespace}/${replace(name, "_", "-")}-serving"
      }
    },
  )
}

resource "google_service_account_iam_member" "workload" {
  for_each = { for name, workload in local.workloads : name => workload if var.create_cluster || var.cluster != "" }

  service_account_id = each.value.account
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.project}.svc.id.goog[${each.value.subject}]"

  # The pool is there once the project has a cluster: without one, these are left out.
  depends_on = [google_container_cluster.serving]
}
