# A cluster for model servers and Kubeflow Pipelines, where there is none yet. Autopilot brings Workload Identity and
# network policies, which manifests/ rely on. Nodes have no public addresses; the NAT lets them fetch images.
resource "google_compute_network" "cluster" {
  count = var.create_cluster ? 1 : 0

  name                    = "slipway"
  auto_create_subnetworks = false

  depends_on = [google_project_service.used]
}

resource "google_compute_subnetwork" "cluster" {
  count = var.create_cluster ? 1 : 0

  name                     = "slipway"
  region                   = var.region
  network                  = google_compute_network.cluster[0].id
  ip_cidr_range            = "10.10.0.0/20"
  private_ip_google_access = true
}

resource "google_compute_router" "cluster" {
  count = var.create_cluster ? 1 : 0

  name    = "slipway"
  region  = var.region
  network = google_compute_network.cluster[0].id
}

resource "google_compute_router_nat" "cluster" {
  count = var.create_cluster ? 1 : 0

  name                               = "slipway"
  region                             = var.region
  router                             = google_compute_router.cluster[0].name
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "ALL_SUBNETWORKS_ALL_IP_RANGES"
}

resource "google_container_cluster" "serving" {
  count = var.create_cluster ? 1 : 0

  name                = "slipway"
  location            = var.region
  enable_autopilot    = true
  network             = google_compute_network.cluster[0].id
  subnetwork          = google_compute_subnetwork.cluster[0].id
  deletion_protection = var.deletion_protection

  cluster_autoscaling {
    auto_provisioning_defaults {
      service_account = google_service_account.nodes.email
      oauth_scopes    = ["https://www.googleapis.com/auth/cloud-platform"]
    }
  }

  # Ranges of Google's choice for pods and services.
  ip_allocation_policy {}

  private_cluster_config {
    enable_private_nodes = true
  }

  # The API has no address of its own but a name, which Google answers for who has a role in the project: Cloud Build and
  # Vertex come from addresses that nobody can list.
  control_plane_endpoints_config {
    dns_endpoint_config {
      allow_external_traffic = true
    }
    ip_endpoints_config {
      enabled = false
    }
  }

  release_channel {
    channel = "REGULAR"
  }

  # A node that cannot pull an image never becomes ready.
  depends_on = [google_project_iam_member.granted, google_artifact_registry_repository_iam_member.granted]
}
