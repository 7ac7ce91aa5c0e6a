//! TLS towards others: whom we trust when we connect.
//!
//! A PEM file of authorities if one is given, then nobody else; otherwise the system's own. Leaves out
//! client certificates, and TLS on our own ports (later).

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// A certificate file that cannot be read, or holds none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tls: {0}")]
pub struct TlsError(String);

/// Reads the authorities; blocks for as long as that takes.
pub fn client(ca_file: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let roots = match ca_file {
        Some(file) => roots_of_file(file)?,
        None => roots_of_system()?,
    };
    trusting(roots)
}

/// For a client that connects without TLS.
pub fn nobody() -> Result<ClientConfig, TlsError> {
    trusting(RootCertStore::empty())
}

fn trusting(roots: RootCertStore) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| TlsError(e.to_string()))?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

fn roots_of_file(file: &Path) -> Result<RootCertStore, TlsError> {
    let fault = |why: String| TlsError(format!("{}: {why}", file.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|e| fault(e.to_string()))? {
        let certificate = certificate.map_err(|e| fault(e.to_string()))?;
        roots.add(certificate).map_err(|e| fault(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(fault("no certificate in it".to_owned()));
    }
    Ok(roots)
}

/// One broken certificate among the system's does not cost the others.
fn roots_of_system() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |e| format!(": {e}"));
        return Err(TlsError(format!("the system trusts no certificate authority{why}")));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        for (content, words) in [
            (None, "No such file"),
            (Some(""), "no certificate in it"),
            (Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), ""),
            (Some("-----BEGIN CERTIFICATE-----\n"), ""),
        ] {
            if let Some(content) = content {
                std::fs::write(&file, content).unwrap();
            }
            let said = client(Some(&file)).unwrap_err().to_string();
            assert!(said.starts_with(&format!("tls: {}: ", file.display())), "{said}");
            assert!(said.contains(words), "{said}");
        }
    }
}
