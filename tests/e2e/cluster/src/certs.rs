//! Keys and certificates of one cluster: a private authority and what it signs. They live as long as the cluster's
//! state folder, which only root can read, so they are made to outlast it instead of being rotated.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use serde::{Deserialize, Serialize};

/// What a certificate says. Stored beside it, so that a changed wish makes a new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Common name: the Kubernetes user.
    pub name: String,
    /// Organization: the Kubernetes group.
    pub group: Option<String>,
    /// DNS names, for servers.
    pub dns: Vec<String>,
    /// Addresses, for servers.
    pub ips: Vec<IpAddr>,
}

impl Subject {
    /// A client of the API server.
    pub fn client(name: &str, group: Option<&str>) -> Self {
        Self { name: name.to_owned(), group: group.map(str::to_owned), dns: Vec::new(), ips: Vec::new() }
    }

    /// A server under these names.
    pub fn server(name: &str, dns: &[&str], ips: &[IpAddr]) -> Self {
        let dns = dns.iter().map(|&d| d.to_owned()).collect();
        Self { name: name.to_owned(), group: None, dns, ips: ips.to_vec() }
    }

    fn params(&self) -> Result<CertificateParams> {
        let mut params = CertificateParams::new(self.dns.clone())?;
        params.subject_alt_names.extend(self.ips.iter().map(|ip| SanType::IpAddress(*ip)));
        params.distinguished_name.push(DnType::CommonName, &self.name);
        if let Some(group) = &self.group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_lifetime(&mut params);
        Ok(params)
    }
}

/// A certificate and its key on disk.
#[derive(Clone, Debug)]
pub struct Pair {
    /// PEM certificate.
    pub cert: PathBuf,
    /// PEM PKCS#8 private key, mode 0600.
    pub key: PathBuf,
}

/// The cluster's authority, kept in one folder.
pub struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

fn set_lifetime(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2060, 1, 1);
}

impl Authority {
    /// Opens the authority in `dir`, making it when there is none.
    pub fn open(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "a8s embedded cluster");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        set_lifetime(&mut params);
        let (cert, key_file) = (dir.join("ca.crt"), dir.join("ca.key"));
        let key = if cert.is_file() && key_file.is_file() {
            KeyPair::from_pem(&fs::read_to_string(&key_file)?).context("reading the cluster's CA key")?
        } else {
            let key = KeyPair::generate()?;
            let signed = params.self_signed(&key)?;
            write_private(&key_file, &key.serialize_pem())?;
            write_private(&cert, &signed.pem())?;
            key
        };
        Ok(Self { dir: dir.to_path_buf(), issuer: Issuer::new(params, key) })
    }

    /// The authority's own files.
    pub fn ca(&self) -> Pair {
        Pair { cert: self.dir.join("ca.crt"), key: self.dir.join("ca.key") }
    }

    /// The certificate called `file` for `subject`, made when missing or when `subject` changed.
    pub fn issue(&self, file: &str, subject: &Subject) -> Result<Pair> {
        let at = |ending: &str| self.dir.join(format!("{file}.{ending}"));
        let pair = Pair { cert: at("crt"), key: at("key") };
        let wish = serde_json::to_string(subject)?;
        let kept = fs::read_to_string(at("json")).is_ok_and(|old| old == wish);
        if kept && pair.cert.is_file() && pair.key.is_file() {
            return Ok(pair);
        }
        let key = KeyPair::generate()?;
        let cert = subject.params()?.signed_by(&key, &self.issuer)?;
        write_private(&pair.key, &key.serialize_pem())?;
        write_private(&pair.cert, &cert.pem())?;
        // Last: it says that the two files above are complete.
        write_private(&at("json"), &wish)?;
        Ok(pair)
    }

    /// The key that signs ServiceAccount tokens: `cert` of the pair is the public key.
    pub fn service_account(&self) -> Result<Pair> {
        let pair = Pair { cert: self.dir.join("sa.pub"), key: self.dir.join("sa.key") };
        if !pair.cert.is_file() || !pair.key.is_file() {
            let key = KeyPair::generate()?;
            write_private(&pair.key, &key.serialize_pem())?;
            write_private(&pair.cert, &key.public_key_pem())?;
        }
        Ok(pair)
    }
}

/// Writes a file that only its owner can read; it appears complete or not at all.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    let partial = path.with_extension("partial");
    let write = || -> std::io::Result<()> {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&partial, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_certificate_is_kept_until_its_subject_changes() {
        let dir = tempfile::tempdir().unwrap();
        let read = |p: &Pair| fs::read_to_string(&p.cert).unwrap();
        let one = Subject::server("apiserver", &["kubernetes"], &["10.96.0.1".parse().unwrap()]);
        let first = read(&Authority::open(dir.path()).unwrap().issue("apiserver", &one).unwrap());
        let again = read(&Authority::open(dir.path()).unwrap().issue("apiserver", &one).unwrap());
        assert_eq!(first, again);
        let two = Subject { ips: vec!["10.96.0.2".parse().unwrap()], ..one };
        let changed = read(&Authority::open(dir.path()).unwrap().issue("apiserver", &two).unwrap());
        assert_ne!(first, changed);
    }

    #[test]
    fn keys_are_readable_by_their_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::open(dir.path()).unwrap();
        for key in [authority.ca().key, authority.service_account().unwrap().key] {
            assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
