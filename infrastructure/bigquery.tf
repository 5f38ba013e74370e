resource "google_bigquery_dataset" "training" {
  count = var.bigquery_dataset == "" ? 0 : 1

  dataset_id                 = var.bigquery_dataset
  location                   = var.region
  description                = "Training data that Slipway's pipelines read"
  delete_contents_on_destroy = false

  depends_on = [google_project_service.used]
}

resource "google_bigquery_dataset_iam_member" "pipeline" {
  count = var.bigquery_dataset == "" ? 0 : 1

  dataset_id = google_bigquery_dataset.training[0].dataset_id
  role       = "roles/bigquery.dataViewer"
  member     = google_service_account.pipeline.member
}

# The digest of a training's data is part of the monitor's decision.
resource "google_bigquery_dataset_iam_member" "monitor" {
  count = var.bigquery_dataset == "" ? 0 : 1

  dataset_id = google_bigquery_dataset.training[0].dataset_id
  role       = "roles/bigquery.dataViewer"
  member     = google_service_account.monitor.member
}
