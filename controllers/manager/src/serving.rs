//! The Secret that a workspace pod serves HTTPS with: its own certificate, the authority's, and the keys whose tokens it accepts.

use std::collections::BTreeMap;

use a8s_crds::labels;
use a8s_plan::Target;
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};

use crate::{context::Context, errors::Error};

/// Makes the Secret unless it is there. One that belongs to somebody else is an error: its key is not ours.
pub async fn ensure_secret(ctx: &Context, owner: &Target, name: &str) -> Result<(), Error> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &owner.namespace);
    let leaf = ctx.authority.issue(&a8s_wire::paths::server_name(&owner.uid))?;
    let data = [
        ("tls.crt", leaf.certificate_pem),
        ("tls.key", leaf.key_pem),
        ("ca.crt", ctx.authority.certificate_pem.clone()),
        ("tokens.pub", ctx.authority.tokens_pub.clone()),
    ];
    let reference = OwnerReference {
        api_version: owner.api_version.clone(),
        kind: owner.kind.clone(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
        controller: Some(true),
        block_owner_deletion: None,
    };
    let labels = [
        (labels::MANAGED_BY, labels::MANAGER),
        (labels::WORKSPACE, &owner.name),
        (labels::WORKSPACE_UID, &owner.uid),
        // A restored desktop is another machine: it gets a certificate of its own.
        (labels::VELERO_EXCLUDE, "true"),
    ];
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            owner_references: Some(vec![reference]),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".into()),
        data: Some(
            data.into_iter()
                .map(|(k, v)| (k.to_owned(), ByteString(v.into_bytes())))
                .collect::<BTreeMap<_, _>>(),
        ),
        ..Secret::default()
    };
    match api.create(&PostParams::default(), &secret).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let found = api.get_metadata(name).await?;
            let owners = found.metadata.owner_references.unwrap_or_default();
            if owners.iter().any(|o| o.controller == Some(true) && o.uid == owner.uid) {
                return Ok(());
            }
            Err(Error::Other(format!("Secret {name} exists and belongs to somebody else")))
        }
        other => other.map(drop).map_err(Error::from),
    }
}
