//! Command line.

use std::net::SocketAddr;

use a8s_process::{HealthArgs, Telemetry};
use clap::Parser;

/// Admission webhook of a8s.
#[derive(Clone, Debug, Parser)]
#[command(name = "a8s-webhook", version)]
pub struct Options {
    /// Logs.
    #[command(flatten)]
    pub telemetry: Telemetry,
    /// Health and metrics.
    #[command(flatten)]
    pub health: HealthArgs,
    /// Where the API server calls, over HTTPS.
    #[arg(long, env = "A8S_LISTEN", default_value = "0.0.0.0:8443")]
    pub listen: SocketAddr,
    /// Namespace of the control plane: of the certificate's Secret, the Service and the controller's ServiceAccount.
    #[arg(long, env = "A8S_SYSTEM_NAMESPACE", default_value = "a8s-system")]
    pub system_namespace: String,
    /// Name of the Service through which the API server calls.
    #[arg(long, env = "A8S_SERVICE", default_value = "a8s-webhook")]
    pub service: String,
    /// ServiceAccount of the controller, which alone speaks for the agent.
    #[arg(long, env = "A8S_CONTROLLER_SERVICE_ACCOUNT", default_value = "a8s-controller")]
    pub controller_service_account: String,
    /// Secret that holds the certificates; made if missing.
    #[arg(long, env = "A8S_TLS_SECRET", default_value = "a8s-webhook-tls")]
    pub secret: String,
    /// Name of the MutatingWebhookConfiguration and the ValidatingWebhookConfiguration.
    #[arg(long, env = "A8S_CONFIGURATION", default_value = "a8s")]
    pub configuration: String,
}

impl Options {
    /// User name of the controller.
    pub fn controller(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.system_namespace, self.controller_service_account)
    }

    /// Names that the certificate is for: those under which the API server knows a Service.
    pub fn names(&self) -> Vec<String> {
        let Self { service, system_namespace, .. } = self;
        vec![
            format!("{service}.{system_namespace}.svc"),
            format!("{service}.{system_namespace}.svc.cluster.local"),
        ]
    }
}
