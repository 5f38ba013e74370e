# Places for secrets; docs/notifications.md says what reads them. Their values never pass through Terraform.
resource "google_secret_manager_secret" "notifications" {
  for_each = var.secrets

  secret_id = each.value

  replication {
    auto {}
  }

  depends_on = [google_project_service.used]
}

resource "google_secret_manager_secret_iam_member" "pipeline" {
  for_each = google_secret_manager_secret.notifications

  secret_id = each.value.secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.pipeline.member
}

resource "google_secret_manager_secret_iam_member" "monitor" {
  for_each = google_secret_manager_secret.notifications

  secret_id = each.value.secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.monitor.member
}
