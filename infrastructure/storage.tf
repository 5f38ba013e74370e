# One bucket holds what the settings call remote_home, with a folder for each kind of thing. Rights are given by folder,
# because a condition on names would not cover listing, which TensorFlow Serving and the model store need.
resource "google_storage_bucket" "home" {
  name                        = var.bucket
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection

  # What was overwritten or deleted can be brought back for a month.
  versioning {
    enabled = true
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 30
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age            = var.keep_checkpoints_days
      matches_prefix = ["checkpoints/"]
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age            = var.keep_trials_days
      matches_prefix = ["tuning/"]
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age            = var.keep_requests_days
      matches_prefix = ["requests/"]
    }
  }

  # What `slipway request-log delete` replaced, since it was to be forgotten.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 1
      matches_prefix             = ["requests/"]
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 7
    }
  }

  depends_on = [google_project_service.used]
}

# What Cloud Build unpacks, and its logs, which are seen for a week; nothing in it is needed for longer.
resource "google_storage_bucket" "builds" {
  name                        = "${var.bucket}-builds"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age = 7
    }
  }

  depends_on = [google_project_service.used]
}

locals {
  folders = toset([
    "arguments",
    "artifacts",
    "batch",
    "beam",
    "checkpoints",
    "console",
    "data",
    "deployments",
    "manifests",
    "models",
    "modules",
    "monitoring",
    "prepared",
    "requests",
    "runs",
    "samples",
    "sources",
    "tuning",
  ])

  # Who may do what where. To replace an object is to delete one, so who may only create changes nothing that is there.
  folder_grants = merge(
    {
      for folder in ["artifacts", "batch", "beam", "checkpoints", "runs", "sources", "tuning"] :
      "pipeline-${folder}" => {
        folder = folder, member = google_service_account.pipeline.member, role = "roles/storage.objectUser"
      }
    },
    {
      for folder in ["artifacts", "monitoring", "runs"] :
      "monitor-${folder}" => {
        folder = folder, member = google_service_account.monitor.member, role = "roles/storage.objectUser"
      }
    },
    {
      # A run adds versions of models, and touches none that is there.
      pipeline-models = {
        folder = "models", member = google_service_account.pipeline.member, role = "roles/storage.objectCreator"
      }
      serving-models = {
        folder = "models", member = google_service_account.serving.member, role = "roles/storage.objectViewer"
      }
      # The newest windows, which versions are pinned, and when runs ended.
      metrics-monitoring = {
        folder = "monitoring", member = google_service_account.metrics.member, role = "roles/storage.objectViewer"
      }
      metrics-runs = {
        folder = "runs", member = google_service_account.metrics.member, role = "roles/storage.objectViewer"
      }
      metrics-models = {
        folder = "models", member = google_service_account.metrics.member, role = "roles/storage.objectViewer"
      }
      # Whoever sees the UI sees what its account may read, so it reads artifacts alone.
      ui-artifacts = {
        folder = "artifacts", member = google_service_account.ui.member, role = "roles/storage.objectViewer"
      }
      serving-requests = {
        folder = "requests", member = google_service_account.serving.member, role = "roles/storage.objectCreator"
      }
    },
    {
      # The rendered overlay, the flags of Beam, and the training that a monitor may start, are written under their digests anew with each
      # submission. `slipway monitor ask` and `submit` change the monitor's state.
      for folder in ["beam", "manifests", "monitoring", "prepared"] :
      "build-${folder}" => {
        folder = folder, member = google_service_account.build.member, role = "roles/storage.objectUser"
      }
    },
    {
      for folder in ["arguments", "data", "deployments", "modules", "samples"] :
      "build-${folder}" => {
        folder = folder, member = google_service_account.build.member, role = "roles/storage.objectCreator"
      }
    },
    {
      # Staging's job compares what serves with the golden requests that the store keeps; production's asks nothing.
      for name in var.environment == "staging" ? ["deployer-models"] : [] : name => {
        folder = "models", member = google_service_account.deployer.member, role = "roles/storage.objectViewer"
      }
    },
    {
      # A rollout by hand publishes the overlay of its checkout; `slipway ui` keeps an index of runs; snapshots are taken
      # and pruned by hand, and runs repeated.
      for each in setproduct(["arguments", "console", "data", "manifests", "models", "requests"], var.operators) :
      "operator-${each[0]}-${each[1]}" => { folder = each[0], member = each[1], role = "roles/storage.objectUser" }
    },
  )
}

resource "google_storage_managed_folder" "home" {
  for_each = local.folders

  bucket        = google_storage_bucket.home.name
  name          = "${each.value}/"
  force_destroy = !var.deletion_protection
}

resource "google_storage_managed_folder_iam_member" "granted" {
  for_each = local.folder_grants

  bucket         = google_storage_bucket.home.name
  managed_folder = google_storage_managed_folder.home[each.value.folder].name
  role           = each.value.role
  member         = each.value.member
}

# Stages, pin and history of a model's versions are one object, which pushes and rollouts replace.
resource "google_storage_managed_folder_iam_member" "stages" {
  for_each = {
    pipeline = google_service_account.pipeline.member
    build    = google_service_account.build.member
  }

  bucket         = google_storage_bucket.home.name
  managed_folder = google_storage_managed_folder.home["models"].name
  role           = "roles/storage.objectUser"
  member         = each.value

  condition {
    title      = "stages-of-versions-only"
    expression = "resource.name.endsWith(\"/.state.json\")"
  }
}

# The bucket's own runs, builds and people may read all of it; model servers and Kubeflow's UI read one folder each.
resource "google_storage_bucket_iam_member" "reader" {
  for_each = merge(
    {
      pipeline = google_service_account.pipeline.member
      monitor  = google_service_account.monitor.member
      build    = google_service_account.build.member
      planner  = google_service_account.planner.member
    },
    { for member in setunion(var.readers, var.operators) : member => member },
  )

  bucket = google_storage_bucket.home.name
  role   = "roles/storage.objectViewer"
  member = each.value
}

# Vertex mounts the bucket for its steps, and looks at it first.
resource "google_storage_bucket_iam_member" "mounter" {
  for_each = {
    pipeline = google_service_account.pipeline.member
    monitor  = google_service_account.monitor.member
  }

  bucket = google_storage_bucket.home.name
  role   = "roles/storage.legacyBucketReader"
  member = each.value
}

resource "google_storage_bucket_iam_member" "source" {
  for_each = {
    "deployer-objects" = { member = google_service_account.deployer.member, role = "roles/storage.objectUser" }
    "deployer-bucket"  = { member = google_service_account.deployer.member, role = "roles/storage.legacyBucketReader" }
    # It reads its source, and writes its log, which the deployer follows.
    "build-objects" = { member = google_service_account.build.member, role = "roles/storage.objectUser" }
    "build-bucket"  = { member = google_service_account.build.member, role = "roles/storage.legacyBucketReader" }
  }

  bucket = google_storage_bucket.builds.name
  role   = each.value.role
  member = each.value.member
}
