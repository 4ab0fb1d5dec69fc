//! The webhook's own small certificate authority: what is made, and when it is made anew. Nothing here reads a clock or talks to
//! anybody, so that years pass quickly in tests.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde::{Deserialize, Serialize};

const DAY: SignedDuration = SignedDuration::from_hours(24);
const LEAF_DAYS: i32 = 365;
const CA_DAYS: i32 = 3650;
/// A leaf is replaced so many days before it ends.
const LEAF_MARGIN_DAYS: i32 = 30;
/// An authority is replaced while it still outlives the leaves that it signs.
const CA_MARGIN_DAYS: i32 = LEAF_DAYS + LEAF_MARGIN_DAYS;
/// Clocks differ.
const SKEW: SignedDuration = SignedDuration::from_hours(1);

/// Certificates cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The library refuses.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The Secret is not what we wrote.
    #[error("the Secret has no usable {0}; delete the Secret and it is made anew")]
    Secret(&'static str),
}

/// What cannot be seen in PEM without parsing certificates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Facts {
    ca_name: String,
    ca_ends: Timestamp,
    leaf_ends: Timestamp,
    names: Vec<String>,
}

/// All that the Secret holds.
#[derive(Clone, PartialEq)]
pub struct Material {
    leaf: String,
    leaf_key: String,
    ca: String,
    ca_key: String,
    /// The authority before this one; still trusted, because another replica may show a leaf of it.
    previous_ca: String,
    facts: Facts,
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // No keys in logs.
        f.debug_struct("Material").field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl Material {
    /// A new authority and a leaf for `names`.
    pub fn new(names: &[String], now: Timestamp) -> Result<Self, TlsError> {
        let key = KeyPair::generate()?;
        // The name differs between authorities, so that a verifier finds the right one in the bundle.
        let ca_name = format!("a8s-webhook {}", now.as_second());
        let ca_ends = now + DAY * CA_DAYS;
        let mut params = ca_params(&ca_name)?;
        set_lifetime(&mut params, now - SKEW, ca_ends);
        let ca = params.self_signed(&key)?.pem();
        let facts = Facts { ca_name, ca_ends, leaf_ends: now, names: names.to_vec() };
        let made = Self {
            leaf: String::new(),
            leaf_key: String::new(),
            ca,
            ca_key: key.serialize_pem(),
            previous_ca: String::new(),
            facts,
        };
        made.with_new_leaf(names, now)
    }

    fn with_new_leaf(&self, names: &[String], now: Timestamp) -> Result<Self, TlsError> {
        let ca_key = KeyPair::from_pem(&self.ca_key)?;
        let issuer = Issuer::new(ca_params(&self.facts.ca_name)?, ca_key);
        let key = KeyPair::generate()?;
        let leaf_ends = (now + DAY * LEAF_DAYS).min(self.facts.ca_ends);
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "a8s-webhook");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        set_lifetime(&mut params, now - SKEW, leaf_ends);
        let leaf = params.signed_by(&key, &issuer)?.pem();
        let facts = Facts { leaf_ends, names: names.to_vec(), ..self.facts.clone() };
        Ok(Self { leaf, leaf_key: key.serialize_pem(), facts, ..self.clone() })
    }

    /// What takes its place, if it is time or the names are others.
    pub fn renewed(&self, names: &[String], now: Timestamp) -> Result<Option<Self>, TlsError> {
        if self.facts.ca_ends < now + DAY * CA_MARGIN_DAYS {
            return Ok(Some(Self { previous_ca: self.ca.clone(), ..Self::new(names, now)? }));
        }
        if self.facts.leaf_ends < now + DAY * LEAF_MARGIN_DAYS || self.facts.names != names {
            return self.with_new_leaf(names, now).map(Some);
        }
        Ok(None)
    }

    /// What clients shall trust, PEM.
    pub fn bundle(&self) -> String {
        format!("{}{}", self.ca, self.previous_ca)
    }

    /// Certificate and key to serve, PEM.
    pub fn serving(&self) -> (Vec<u8>, Vec<u8>) {
        (self.leaf.clone().into_bytes(), self.leaf_key.clone().into_bytes())
    }

    /// As data of a Secret.
    pub fn to_data(&self) -> BTreeMap<String, ByteString> {
        let facts = serde_json::to_string(&self.facts).unwrap_or_default();
        [
            ("tls.crt", &self.leaf),
            ("tls.key", &self.leaf_key),
            ("ca.crt", &self.ca),
            ("ca.key", &self.ca_key),
            ("previous-ca.crt", &self.previous_ca),
            ("facts.json", &facts),
        ]
        .into_iter()
        .map(|(key, text)| (key.to_owned(), ByteString(text.clone().into_bytes())))
        .collect()
    }

    /// From data of a Secret.
    pub fn from_data(data: &BTreeMap<String, ByteString>) -> Result<Self, TlsError> {
        let text = |key: &'static str| {
            data.get(key)
                .and_then(|bytes| String::from_utf8(bytes.0.clone()).ok())
                .ok_or(TlsError::Secret(key))
        };
        Ok(Self {
            leaf: text("tls.crt")?,
            leaf_key: text("tls.key")?,
            ca: text("ca.crt")?,
            ca_key: text("ca.key")?,
            previous_ca: text("previous-ca.crt")?,
            facts: serde_json::from_str(&text("facts.json")?).map_err(|_| TlsError::Secret("facts.json"))?,
        })
    }
}

/// The same for signing as for the authority's own certificate: a leaf names its issuer.
fn ca_params(name: &str) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

/// The day is precise enough for a certificate that lives for months.
fn set_lifetime(params: &mut CertificateParams, from: Timestamp, to: Timestamp) {
    let day = |at: Timestamp| {
        let day = at.to_zoned(jiff::tz::TimeZone::UTC).date();
        (i32::from(day.year()), day.month().unsigned_abs(), day.day().unsigned_abs())
    };
    let ((y, m, d), (y2, m2, d2)) = (day(from), day(to));
    params.not_before = rcgen::date_time_ymd(y, m, d);
    params.not_after = rcgen::date_time_ymd(y2, m2, d2);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{
        RootCertStore,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier},
        pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    };

    use super::*;

    fn names() -> Vec<String> {
        vec!["a8s-webhook.a8s-system.svc".to_owned()]
    }

    fn start() -> Timestamp {
        "2030-05-05T10:00:00Z".parse().unwrap()
    }

    /// Whether a client that trusts `bundle` accepts what `material` shows.
    fn accepted(bundle: &str, material: &Material, name: &str, at: Timestamp) -> bool {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let leaf = CertificateDer::from_pem_slice(&material.serving().0).unwrap();
        let seconds = std::time::Duration::from_secs(at.as_second().unsigned_abs());
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let at = UnixTime::since_unix_epoch(seconds);
        verifier.verify_server_cert(&leaf, &[], &name, &[], at).is_ok()
    }

    #[test]
    fn the_bundle_vouches_for_the_leaf_and_for_its_names_only() {
        let material = Material::new(&names(), start()).unwrap();
        assert!(accepted(&material.bundle(), &material, &names()[0], start()));
        assert!(!accepted(&material.bundle(), &material, "elsewhere.a8s-system.svc", start()));
        let stranger = Material::new(&names(), start()).unwrap();
        assert!(!accepted(&stranger.bundle(), &material, &names()[0], start()));
    }

    #[test]
    fn a_leaf_is_replaced_thirty_days_before_its_end_and_under_the_same_authority() {
        let material = Material::new(&names(), start()).unwrap();
        assert_eq!(material.renewed(&names(), start() + DAY * 334).unwrap(), None);
        let later = start() + DAY * 336;
        let renewed = material.renewed(&names(), later).unwrap().unwrap();
        assert_eq!(renewed.bundle(), material.bundle());
        assert_ne!(renewed.serving(), material.serving());
        assert!(accepted(&material.bundle(), &renewed, &names()[0], later + DAY * 300));
        assert_eq!(renewed.renewed(&names(), later).unwrap(), None, "once is enough");
    }

    #[test]
    fn a_new_authority_is_trusted_beside_the_old_one() {
        let old = Material::new(&names(), start()).unwrap();
        let later = start() + DAY * (CA_DAYS - CA_MARGIN_DAYS + 1);
        let new = old.renewed(&names(), later).unwrap().unwrap();
        assert_ne!(new.bundle(), old.bundle());
        assert!(accepted(&new.bundle(), &new, &names()[0], later));
        let old_leaf = old.with_new_leaf(&names(), later).unwrap();
        assert!(accepted(&new.bundle(), &old_leaf, &names()[0], later), "another replica may still show it");
        assert!(!accepted(&old.bundle(), &new, &names()[0], later));
        assert_eq!(new.renewed(&names(), later).unwrap(), None);
    }

    #[test]
    fn other_names_need_another_leaf() {
        let material = Material::new(&names(), start()).unwrap();
        let others = vec!["other.ns.svc".to_owned()];
        let renewed = material.renewed(&others, start()).unwrap().unwrap();
        assert!(accepted(&material.bundle(), &renewed, "other.ns.svc", start()));
    }

    #[test]
    fn the_secret_keeps_everything() {
        let material = Material::new(&names(), start()).unwrap();
        assert_eq!(Material::from_data(&material.to_data()).unwrap(), material);
        let mut broken = material.to_data();
        broken.remove("ca.key");
        let error = Material::from_data(&broken).unwrap_err();
        assert!(error.to_string().contains("ca.key"), "{error}");
    }

    #[test]
    fn keys_do_not_appear_in_debug_output() {
        let text = format!("{:?}", Material::new(&names(), start()).unwrap());
        assert!(!text.contains("PRIVATE KEY"), "{text}");
    }
}
