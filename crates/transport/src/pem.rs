//! Certificates and keys from PEM files, and what a client trusts.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::TransportError;

fn unusable(path: &Path, why: impl ToString) -> TransportError {
    TransportError::File { path: path.to_owned(), why: why.to_string() }
}

/// The certificates in the file, at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|e| unusable(path, e))?;
    if found.is_empty() { Err(unusable(path, "it holds no certificate in PEM")) } else { Ok(found) }
}

/// The private key in the file.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TransportError> {
    // The reason of a failed parse names at most a section, never its content.
    PrivateKeyDer::from_pem_file(path).map_err(|e| unusable(path, e))
}

/// The authorities in the file; without one those of the system.
pub fn authorities(path: Option<&Path>) -> Result<Arc<RootCertStore>, TransportError> {
    let mut roots = RootCertStore::empty();
    match path {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|e| unusable(path, e))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(TransportError::NoAuthorities);
            }
        }
    }
    Ok(Arc::new(roots))
}

/// A client that trusts these authorities and shows no certificate of its own.
pub fn client(roots: Arc<RootCertStore>) -> Result<Arc<ClientConfig>, TransportError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    Ok(Arc::new(
        builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth(),
    ))
}
