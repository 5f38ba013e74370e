variable "project" {
  description = "Project of this environment. Staging and production each have one of their own."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "The id of a project: 6 to 30 lower-case letters, digits and hyphens."
  }
}

variable "region" {
  description = "Where everything is. Training and serving in the region of the data cost no traffic."
  type        = string
  default     = "europe-west1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "A region, as europe-west1; no zone."
  }
}

variable "environment" {
  description = "Which file of settings/ this is for; it also names the namespace and the environment on GitHub."
  type        = string

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$", var.environment))
    error_message = "As the file in settings/ and the folder in manifests/overlays: at most 20 lower-case letters, digits and hyphens."
  }
}

variable "bucket" {
  description = "Name of the bucket that holds everything; all of Google Cloud shares one space of names."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9_-]{1,54}[a-z0-9]$", var.bucket))
    error_message = "3 to 56 lower-case letters, digits, hyphens and underscores: the name of a second bucket has -builds behind it."
  }
}

variable "models" {
  description = "Names of the modules whose models are served."
  type        = set(string)
  default     = ["taxi"]

  validation {
    condition     = alltrue([for name in var.models : can(regex("^[a-z]([a-z0-9_]*[a-z0-9])?$", name))])
    error_message = "Names of folders under modules/."
  }
}

variable "pipeline_namespace" {
  description = "Where Kubeflow's steps run in the cluster, as the accounts of manifests/pipeline-account and monitor-account."
  type        = string
  default     = "kubeflow"

  validation {
    condition     = can(regex("^[a-z0-9-]+$", var.pipeline_namespace))
    error_message = "The name of a namespace."
  }
}

variable "ui_service_account" {
  description = "What serves artifacts to Kubeflow's UI, as NAMESPACE/NAME: PROFILE/default-editor where profiles do it."
  type        = string
  default     = "kubeflow/ml-pipeline-ui"

  validation {
    condition     = can(regex("^[a-z0-9-]+/[a-z0-9-]+$", var.ui_service_account))
    error_message = "NAMESPACE/NAME of a Kubernetes service account."
  }
}

variable "github_repository" {
  description = "OWNER/NAME of the repository whose pushes are deployed."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "OWNER/NAME, without https://github.com/."
  }
}

variable "github_repository_id" {
  description = "The number of that repository, which no other ever gets: gh api repos/OWNER/NAME --jq .id."
  type        = string

  validation {
    condition     = can(regex("^[0-9]+$", var.github_repository_id))
    error_message = "Digits only, as `gh api repos/OWNER/NAME --jq .id` prints them."
  }
}

variable "github_branch" {
  description = "The only branch from which anything is deployed."
  type        = string
  default     = "main"

  validation {
    condition     = can(regex("^[A-Za-z0-9._/-]+$", var.github_branch))
    error_message = "The name of a branch, without refs/heads/."
  }
}

variable "readers" {
  description = "Who else may look at images, modules and deployments: production names staging's planner here."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for who in var.readers : can(regex("^(serviceAccount|group|user):", who))])
    error_message = "Members, as serviceAccount:slipway-planner@PROJECT.iam.gserviceaccount.com."
  }
}

variable "operators" {
  description = "Who rolls models back, prunes them and deletes logged requests by hand, as group:ml-ops@example.com."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for who in var.operators : can(regex("^(serviceAccount|group|user):", who))])
    error_message = "Members, as group:ml-ops@example.com."
  }
}

variable "secrets" {
  description = "Names of secrets for notifications. Their values are added by hand: Terraform would keep them in its state."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.secrets : can(regex("^[A-Za-z0-9_-]{1,255}$", name))])
    error_message = "Names of secrets, without projects/…/secrets/."
  }
}

variable "keep_checkpoints_days" {
  description = "How long checkpoints are kept; a run that was killed resumes from them."
  type        = number
  default     = 30

  validation {
    condition     = var.keep_checkpoints_days >= 1
    error_message = "At least one day."
  }
}

variable "keep_trials_days" {
  description = "How long trials of tune_model are kept, and a winner that no run uses; later, a search begins anew."
  type        = number
  default     = 180

  validation {
    condition     = var.keep_trials_days >= 1
    error_message = "At least one day."
  }
}

variable "keep_requests_days" {
  description = "How long logged requests are kept, which may be about people; monitoring needs some weeks."
  type        = number
  default     = 90

  validation {
    condition     = var.keep_requests_days >= 1
    error_message = "At least one day."
  }
}

variable "bigquery_dataset" {
  description = "Name of a data set for training data in BigQuery; none is made if it is empty."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[A-Za-z0-9_]*$", var.bigquery_dataset))
    error_message = "Letters, digits and underscores."
  }
}

variable "create_cluster" {
  description = "Whether a GKE Autopilot cluster with a network of its own is made; false where there is one already."
  type        = bool
  default     = false
}

variable "cluster" {
  description = "The GKE cluster that is there already, in full; empty where one is made, or models are served elsewhere."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(projects/[^/]+/locations/[^/]+/clusters/[^/]+)?$", var.cluster))
    error_message = "projects/PROJECT/locations/LOCATION/clusters/NAME."
  }
}

variable "deletion_protection" {
  description = "Whether the cluster and a bucket that is not empty survive `terraform destroy`."
  type        = bool
  default     = true
}
