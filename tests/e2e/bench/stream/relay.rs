//! The least that can stand between a browser and a desktop: bytes from one connection to another, and back. It has no WebSocket, checks
//! nothing and filters nothing. With TLS to the desktop it pays for the one thing that the proxy cannot do without.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

/// Relays from one port to another until it is killed; `tls` is the CA of the desktop and its name.
pub async fn run(from: u16, to: u16, tls: Option<(&Path, &str)>) -> Result<()> {
    let tls = tls.map(|(ca, name)| connector(ca, name)).transpose()?;
    let listener = TcpListener::bind(("127.0.0.1", from)).await?;
    loop {
        let (mut browser, _) = listener.accept().await?;
        let tls = tls.clone();
        tokio::spawn(async move {
            browser.set_nodelay(true)?;
            let mut desktop = TcpStream::connect(("127.0.0.1", to)).await?;
            desktop.set_nodelay(true)?;
            match tls {
                None => tokio::io::copy_bidirectional(&mut browser, &mut desktop).await?,
                Some((connector, name)) => {
                    let mut desktop = connector.connect(name, desktop).await?;
                    tokio::io::copy_bidirectional(&mut browser, &mut desktop).await?
                }
            };
            std::io::Result::Ok(())
        });
    }
}

fn connector(ca: &Path, name: &str) -> Result<(TlsConnector, ServerName<'static>)> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).context("reading the CA")?)?;
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok((TlsConnector::from(Arc::new(config)), ServerName::try_from(name.to_owned())?))
}
