locals {
  # Keys are those of settings/schema.py.
  settings = {
    remote_home = google_storage_bucket.home.url
    delivery = {
      image_repository = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}/slipway"
    }
    kubeflow = {
      service_account  = local.pipeline_service_account
      service_accounts = { monitoring = local.monitor_service_account }
    }
    vertex = {
      project          = var.project
      location         = var.region
      service_account  = google_service_account.pipeline.email
      service_accounts = { monitoring = google_service_account.monitor.email }
    }
    serving = {
      overlay = var.environment
      cluster = var.create_cluster ? google_container_cluster.serving[0].id : var.cluster
    }
  }
}

output "settings" {
  description = "For settings/<environment>.yaml: terraform output -raw settings"
  value       = yamlencode(local.settings)
}

output "github_variables" {
  description = "Variables of the environment of this name on GitHub; GCP_SERVICE_ACCOUNT is another for the repository."
  value = {
    GCP_WORKLOAD_IDENTITY_PROVIDER = google_iam_workload_identity_pool_provider.github.name
    GCP_SERVICE_ACCOUNT            = google_service_account.deployer.email
    GCP_BUILD_SERVICE_ACCOUNT      = google_service_account.build.email
    GCP_PROJECT                    = var.project
    GCP_REGION                     = var.region
    BUILD_SOURCE                   = "${google_storage_bucket.builds.url}/source"
    BUILD_CACHE                    = "${local.settings.delivery.image_repository}-cache"
    MODEL_STORE                    = "${google_storage_bucket.home.url}/models"
  }
}

output "github_repository_variables" {
  description = "Variables of the repository itself, with which it plans: staging's."
  value = {
    GCP_WORKLOAD_IDENTITY_PROVIDER = google_iam_workload_identity_pool_provider.github.name
    GCP_SERVICE_ACCOUNT            = google_service_account.planner.email
  }
}

output "manifests" {
  description = "What manifests/ have to name."
  value = {
    namespace               = local.namespace
    bucket                  = google_storage_bucket.home.name
    serving_service_account = google_service_account.serving.email
    pipeline_google_account = google_service_account.pipeline.email
    monitor_google_account  = google_service_account.monitor.email
    metrics_google_account  = google_service_account.metrics.email
    ui_google_account       = google_service_account.ui.email
    build_google_account    = google_service_account.build.email
  }
}

output "workload_identity" {
  description = "Which service account of the cluster is which of Google's; that of Kubeflow's UI is annotated by hand."
  value       = { for name, workload in local.workloads : workload.subject => workload.account }
}
