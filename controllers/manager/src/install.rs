//! What an install has once: the key that signs access tokens, the certificate authority of the workspace pods, and its certificate for
//! everybody to read. Made at the first start; from then on only read. It never logs or returns key material in an error.

use std::collections::BTreeMap;

use ed25519_dalek::{
    SigningKey,
    pkcs8::{EncodePrivateKey, EncodePublicKey, spki::der::pem::LineEnding},
};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Resource,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use serde_json::json;

use crate::errors::Error;

const SIGNING: &str = "a8s-signing";
const SIGNING_KEY: &str = "signing.key";
const SIGNING_PUB: &str = "signing.pub";
/// Name of the Secret with the authority and of the ConfigMap with its certificate.
const CA: &str = "a8s-ca";
const YEARS: i16 = 10;

/// Everything that the controller needs of it.
pub struct Install {
    /// Signs the certificates of the workspace pods.
    pub authority: Authority,
    /// Signs access tokens.
    pub signing_key: SigningKey,
}

/// The certificate authority of the install.
#[derive(Clone)]
pub struct Authority {
    /// Its certificate, PEM.
    pub certificate_pem: String,
    /// Public keys whose access tokens the pods accept, PEM.
    pub tokens_pub: String,
    key_pem: String,
}

/// A certificate with its key, both PEM.
pub struct Leaf {
    /// Certificate.
    pub certificate_pem: String,
    /// Private key, PKCS#8.
    pub key_pem: String,
}

impl Authority {
    /// Makes a serving certificate for one DNS name.
    pub fn issue(&self, name: &str) -> Result<Leaf, Error> {
        let key = KeyPair::from_pem(&self.key_pem).map_err(certificate)?;
        let issuer = Issuer::new(authority_params(), key);
        let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(certificate)?;
        params.distinguished_name.push(DnType::CommonName, "a8s workspace");
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        validity(&mut params);
        let key = KeyPair::generate().map_err(certificate)?;
        let leaf = params.signed_by(&key, &issuer).map_err(certificate)?;
        Ok(Leaf { certificate_pem: leaf.pem(), key_pem: key.serialize_pem() })
    }
}

/// A certificate authority that nobody knows yet: certificate and key, PEM.
fn new_authority() -> Result<(String, String), Error> {
    let key = KeyPair::generate().map_err(certificate)?;
    let mut params = authority_params();
    validity(&mut params);
    let own = params.self_signed(&key).map_err(certificate)?;
    Ok((own.pem(), key.serialize_pem()))
}

/// The same every time: issuer names in leaf certificates are made from it.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "a8s workspaces");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params
}

/// From yesterday, for machines whose clocks differ, for some years.
fn validity(params: &mut CertificateParams) {
    let yesterday = jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).date();
    let yesterday = yesterday.yesterday().unwrap_or(yesterday);
    let month = u8::try_from(yesterday.month()).unwrap_or(1);
    // The 28th exists in every month of every year.
    let day = u8::try_from(yesterday.day().min(28)).unwrap_or(1);
    params.not_before = date_time_ymd(i32::from(yesterday.year()), month, day);
    params.not_after = date_time_ymd(i32::from(yesterday.year() + YEARS), month, day);
}

#[allow(clippy::needless_pass_by_value, reason = "used as a function for map_err")]
fn certificate(error: rcgen::Error) -> Error {
    Error::Certificate(error.to_string())
}

/// Makes what is missing and reads the rest. Two processes that start at once end up with the same keys.
pub async fn ensure(client: &kube::Client, system_namespace: &str) -> Result<Install, Error> {
    let signing = secret(client, system_namespace, SIGNING, new_signing).await?;
    let signing_key = a8s_wire::token::signing_key(&text(&signing, SIGNING, SIGNING_KEY)?)
        .map_err(|error| Error::Certificate(format!("Secret {SIGNING}: {error}")))?;
    let ca = secret(client, system_namespace, CA, || {
        let (certificate, key) = new_authority()?;
        Ok(vec![("tls.crt", certificate), ("tls.key", key)])
    })
    .await?;
    let authority = Authority {
        certificate_pem: text(&ca, CA, "tls.crt")?,
        tokens_pub: text(&signing, SIGNING, SIGNING_PUB)?,
        key_pem: text(&ca, CA, "tls.key")?,
    };
    publish(client, system_namespace, &authority.certificate_pem).await?;
    Ok(Install { authority, signing_key })
}

fn new_signing() -> Result<Vec<(&'static str, String)>, Error> {
    let failed =
        |what: &str| Error::Certificate(format!("the signing key's {what} part cannot be written as PEM"));
    let key = SigningKey::from_bytes(&rand::random());
    let private = key.to_pkcs8_pem(LineEnding::LF).map_err(|_| failed("private"))?;
    let public = key.verifying_key().to_public_key_pem(LineEnding::LF).map_err(|_| failed("public"))?;
    Ok(vec![(SIGNING_KEY, private.to_string()), (SIGNING_PUB, public)])
}

/// The Secret of this name, made by `make` if it is missing.
async fn secret(
    client: &kube::Client,
    namespace: &str,
    name: &str,
    make: impl Fn() -> Result<Vec<(&'static str, String)>, Error>,
) -> Result<Secret, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    if let Some(found) = api.get_opt(name).await? {
        return Ok(found);
    }
    let data = make()?.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes())));
    let wanted = Secret { metadata: metadata(name), data: Some(data.collect()), ..Secret::default() };
    match api.create(&PostParams::default(), &wanted).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(api.get(name).await?),
        other => Ok(other?),
    }
}

async fn publish(client: &kube::Client, namespace: &str, certificate: &str) -> Result<(), Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = api.get_opt(CA).await?;
    if found.and_then(|f| f.data).is_some_and(|data| data.get("ca.crt").is_some_and(|c| c == certificate)) {
        return Ok(());
    }
    let wanted = json!({
        "apiVersion": ConfigMap::api_version(&()), "kind": ConfigMap::kind(&()),
        "metadata": metadata(CA), "data": {"ca.crt": certificate},
    });
    api.patch(CA, &PatchParams::apply("a8s/install").force(), &Patch::Apply(&wanted)).await?;
    Ok(())
}

fn metadata(name: &str) -> ObjectMeta {
    let label = (a8s_crds::labels::MANAGED_BY.to_owned(), a8s_crds::labels::MANAGER.to_owned());
    ObjectMeta { name: Some(name.into()), labels: Some(BTreeMap::from([label])), ..ObjectMeta::default() }
}

fn text(secret: &Secret, name: &str, key: &str) -> Result<String, Error> {
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    let value = value.and_then(|v| String::from_utf8(v.0.clone()).ok());
    value.ok_or_else(|| {
        Error::Certificate(format!(
            "Secret {name} has no readable {key}; delete the Secret and restart to have it made anew"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_names_its_workspace_and_is_signed_by_the_authority() {
        drop(rustls::crypto::ring::default_provider().install_default());
        let (certificate_pem, key_pem) = new_authority().unwrap();
        let authority = Authority { certificate_pem, tokens_pub: String::new(), key_pem };
        let leaf = authority.issue("uid-1.workspace.a8s.internal").unwrap();

        let parse = |pem: &str| {
            use rustls::pki_types::{CertificateDer, pem::PemObject};
            CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
        };
        let mut roots = rustls::RootCertStore::empty();
        roots.add(parse(&authority.certificate_pem)).unwrap();
        let verifier = rustls::client::WebPkiServerVerifier::builder(roots.into()).build().unwrap();
        let check = |name: &str| {
            use rustls::client::danger::ServerCertVerifier;
            let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
            let now = rustls::pki_types::UnixTime::now();
            verifier.verify_server_cert(&parse(&leaf.certificate_pem), &[], &name, &[], now)
        };
        assert!(check("uid-1.workspace.a8s.internal").is_ok());
        assert!(check("uid-2.workspace.a8s.internal").is_err());
    }

    #[test]
    fn a_new_signing_key_signs_what_its_public_part_verifies() {
        let made: BTreeMap<_, _> = new_signing().unwrap().into_iter().collect();
        let key = a8s_wire::token::signing_key(&made[SIGNING_KEY]).unwrap();
        let claims = a8s_wire::Claims {
            iss: "controller".into(),
            sub: "x".into(),
            wsu: "uid".into(),
            scp: vec![a8s_wire::Scope::View],
            exp: 60,
            jti: "1".into(),
        };
        let verifier = a8s_wire::token::TokenVerifier::from_pem(&made[SIGNING_PUB], "uid").unwrap();
        let token = a8s_wire::token::sign(&key, &claims);
        assert!(verifier.verify(&token, 0, &[a8s_wire::Scope::View]).is_ok());
    }
}
