terraform {
  required_version = ">= 1.6"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
  }

  # terraform init -backend-config=bucket=STATE_BUCKET -backend-config=prefix=slipway/ENVIRONMENT
  backend "gcs" {}
}

provider "google" {
  project = var.project
  region  = var.region
}

resource "google_project_service" "used" {
  for_each = toset(concat(
    [
      "aiplatform.googleapis.com",
      "artifactregistry.googleapis.com",
      "cloudbuild.googleapis.com",
      "cloudresourcemanager.googleapis.com",
      "iam.googleapis.com",
      "iamcredentials.googleapis.com",
      "logging.googleapis.com",
      "secretmanager.googleapis.com",
      "storage.googleapis.com",
      "sts.googleapis.com",
    ],
    var.bigquery_dataset == "" ? [] : ["bigquery.googleapis.com"],
    var.create_cluster ? ["compute.googleapis.com", "container.googleapis.com"] : [],
  ))

  service            = each.value
  disable_on_destroy = false # others in the project may use it
}
