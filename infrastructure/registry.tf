# Nothing is cleaned up: a run that is to be repeated names its image by digest, whatever its tag names by then.
resource "google_artifact_registry_repository" "images" {
  location      = var.region
  repository_id = "slipway"
  description   = "The image of Slipway's steps, and the layers that its builds start from"
  format        = "DOCKER"

  depends_on = [google_project_service.used]
}

resource "google_artifact_registry_repository_iam_member" "granted" {
  for_each = merge(
    {
      build    = { member = google_service_account.build.member, role = "roles/artifactregistry.writer" }
      pipeline = { member = google_service_account.pipeline.member, role = "roles/artifactregistry.reader" }
      nodes    = { member = google_service_account.nodes.member, role = "roles/artifactregistry.reader" }
      planner  = { member = google_service_account.planner.member, role = "roles/artifactregistry.reader" }
    },
    { for member in var.readers : member => { member = member, role = "roles/artifactregistry.reader" } },
  )

  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.name
  role       = each.value.role
  member     = each.value.member
}
