//! Keeps the certificate in its Secret and tells the API server whom to trust. Replicas meet at the Secret: whoever is second takes what
//! the first one wrote.

use std::time::Duration;

use a8s_process::{CancellationToken, Readiness};
use axum_server::tls_rustls::RustlsConfig;
use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        core::v1::Secret,
    },
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    options::Options,
    tls::{Material, TlsError},
};

/// Between two looks at the registrations: a Helm upgrade may have emptied them.
const CALM: Duration = Duration::from_secs(30);
/// Between two looks while something is missing.
const HASTE: Duration = Duration::from_secs(2);

/// A pass failed; the next one tries again.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The API server.
    #[error("{what}: {source}")]
    Kube {
        /// What was tried.
        what: &'static str,
        /// Its answer.
        source: kube::Error,
    },
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server refuses the certificate.
    #[error("cannot serve the certificate: {0}")]
    Serve(#[from] std::io::Error),
    /// Another replica wrote at the same moment.
    #[error("another replica wrote the Secret at the same moment")]
    Raced,
}

fn failed(what: &'static str) -> impl Fn(kube::Error) -> PublishError {
    move |source| PublishError::Kube { what, source }
}

/// Keeper of the certificate.
pub struct Publisher {
    client: Client,
    options: Options,
}

impl Publisher {
    /// For the Secret and the registrations that `options` names.
    pub fn new(client: Client, options: Options) -> Self {
        Self { client, options }
    }

    /// What is to be served now, from the Secret; made or renewed if it is time.
    pub async fn material(&self, now: Timestamp) -> Result<Material, PublishError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.options.system_namespace);
        let names = self.options.names();
        let Some(mut secret) =
            api.get_opt(&self.options.secret).await.map_err(failed("cannot read the Secret"))?
        else {
            let material = Material::new(&names, now)?;
            let secret = new_secret(&self.options, &material);
            return match api.create(&PostParams::default(), &secret).await {
                Err(kube::Error::Api(s)) if s.code == 409 => Err(PublishError::Raced),
                made => made.map(|_| material).map_err(failed("cannot make the Secret")),
            };
        };
        let data = secret.data.clone().unwrap_or_default();
        // An empty Secret, made by somebody who wants to give it labels, is filled.
        let current = if data.is_empty() { None } else { Some(Material::from_data(&data)?) };
        let renewed = match &current {
            None => Some(Material::new(&names, now)?),
            Some(material) => material.renewed(&names, now)?,
        };
        let Some(renewed) = renewed else {
            return current.ok_or(PublishError::Raced);
        };
        secret.data = Some(renewed.to_data());
        secret.metadata.managed_fields = None;
        // It carries the resource version that was read: of two replicas one loses and reads again.
        match api.replace(&self.options.secret, &PostParams::default(), &secret).await {
            Err(kube::Error::Api(s)) if s.code == 409 => Err(PublishError::Raced),
            done => done.map(|_| renewed).map_err(failed("cannot renew the Secret")),
        }
    }

    /// Puts the bundle into both registrations. False if one of them is not there yet.
    pub async fn publish(&self, bundle: &str) -> Result<bool, PublishError> {
        let mutating =
            inject::<MutatingWebhookConfiguration>(&self.client, &self.options.configuration, bundle).await?;
        let validating =
            inject::<ValidatingWebhookConfiguration>(&self.client, &self.options.configuration, bundle)
                .await?;
        Ok(mutating && validating)
    }

    /// Waits for the first certificate; the server cannot start without.
    pub async fn first(&self) -> Material {
        loop {
            match self.material(Timestamp::now()).await {
                Ok(material) => return material,
                Err(PublishError::Raced) => {}
                Err(error) => {
                    tracing::warn!(%error, "no certificate yet");
                    tokio::time::sleep(HASTE).await;
                }
            }
        }
    }

    /// Renews and publishes for ever. Ready once the API server can call.
    pub async fn keep(
        &self,
        mut served: Material,
        tls: RustlsConfig,
        ready: Readiness,
        stop: CancellationToken,
    ) {
        loop {
            let pause = match self.pass(&mut served, &tls).await {
                Ok(complete) => {
                    if complete != ready.is_ready() {
                        tracing::info!(complete, "registrations with our CA");
                    }
                    // Once ready it stays so: taking the endpoint away would help nobody.
                    if complete {
                        ready.set(true);
                        CALM
                    } else {
                        HASTE
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "certificate or registrations are not up to date");
                    HASTE
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn pass(&self, served: &mut Material, tls: &RustlsConfig) -> Result<bool, PublishError> {
        let material = self.material(Timestamp::now()).await?;
        // First who is trusted, then what is shown.
        let complete = self.publish(&material.bundle()).await?;
        if material != *served {
            let (certificate, key) = material.serving();
            tls.reload_from_pem(certificate, key).await?;
            tracing::info!(?material, "serving another certificate");
            *served = material;
        }
        Ok(complete)
    }
}

fn new_secret(options: &Options, material: &Material) -> Secret {
    let mut secret =
        Secret { data: Some(material.to_data()), type_: Some("Opaque".to_owned()), ..Secret::default() };
    secret.metadata.name = Some(options.secret.clone());
    secret.metadata.namespace = Some(options.system_namespace.clone());
    secret.labels_mut().insert(a8s_crds::labels::MANAGED_BY.to_owned(), a8s_crds::labels::MANAGER.to_owned());
    secret
}

async fn inject<K>(client: &Client, name: &str, bundle: &str) -> Result<bool, PublishError>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let Some(found) = api.get_opt(name).await.map_err(failed("cannot read a registration"))? else {
        return Ok(false);
    };
    let Ok(found) = serde_json::to_value(&found) else { return Ok(false) };
    let changes = bundle_patch(&found, bundle);
    if changes.is_empty() {
        return Ok(true);
    }
    let Ok(patch) = serde_json::from_value(Value::from(changes)) else { return Ok(false) };
    let patch: Patch<K> = Patch::Json(patch);
    api.patch(name, &PatchParams::default(), &patch)
        .await
        .map_err(failed("cannot put the CA into a registration"))?;
    tracing::info!(kind = %K::kind(&()), name, "put our CA into the registration");
    Ok(true)
}

/// JSON Patch that puts `bundle` into every webhook of a registration; empty if it is there. Bound to the version that was read,
/// because it counts on the order of the list.
fn bundle_patch(found: &Value, bundle: &str) -> Vec<Value> {
    let wanted = serde_json::to_value(ByteString(bundle.as_bytes().to_vec())).unwrap_or_default();
    let webhooks = found["webhooks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut changes: Vec<Value> = webhooks
        .iter()
        .enumerate()
        .filter(|(_, webhook)| webhook["clientConfig"]["caBundle"] != wanted)
        .map(|(i, _)| json!({"op": "add", "path": format!("/webhooks/{i}/clientConfig/caBundle"), "value": wanted}))
        .collect();
    if !changes.is_empty() {
        let version = &found["metadata"]["resourceVersion"];
        changes.insert(0, json!({"op": "test", "path": "/metadata/resourceVersion", "value": version}));
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_webhooks_with_another_bundle_are_changed() {
        let found = json!({"metadata": {"resourceVersion": "9"}, "webhooks": [
            {"clientConfig": {"caBundle": "Ynk="}}, {"clientConfig": {"service": {"name": "x"}}},
        ]});
        assert_eq!(
            bundle_patch(&found, "by"),
            [
                json!({"op": "test", "path": "/metadata/resourceVersion", "value": "9"}),
                json!({"op": "add", "path": "/webhooks/1/clientConfig/caBundle", "value": "Ynk="}),
            ]
        );
        assert_eq!(bundle_patch(&found, "other").len(), 3);
        assert_eq!(bundle_patch(&json!({"metadata": {}}), "by"), Vec::<Value>::new());
    }
}
