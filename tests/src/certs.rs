//! Certificates that a test makes for itself: an authority, and what it signs, as PEM files.

use std::path::{Path, PathBuf};

use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};

use crate::Error;

/// An authority of its own, trusted by whoever is given [`file`](Self::file).
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, PEM.
    pub file: PathBuf,
}

/// Certificate and key, PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The key's file. Readable by all: the private servers run as another user.
    pub key: PathBuf,
}

impl Authority {
    /// A new authority; its file is `NAME.pem` in the directory.
    pub fn new(directory: &Path, name: &str) -> Result<Self, Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let file = directory.join(format!("{name}.pem"));
        std::fs::write(&file, pem("CERTIFICATE", certificate.der()))?;
        Ok(Self { issuer: Issuer::new(params, key), file })
    }

    /// A certificate for these host names and URIs, in `NAME.crt` and `NAME.key`, over what is there.
    pub fn sign(
        &self,
        directory: &Path,
        name: &str,
        hosts: &[&str],
        uris: &[String],
    ) -> Result<Identity, Error> {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts)?;
        for uri in uris {
            params.subject_alt_names.push(SanType::URI(Ia5String::try_from(uri.as_str())?));
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let identity = Identity {
            certificate: directory.join(format!("{name}.crt")),
            key: directory.join(format!("{name}.key")),
        };
        // The key last: until it is there the pair does not fit, and is not taken.
        std::fs::write(&identity.certificate, pem("CERTIFICATE", certificate.der()))?;
        std::fs::write(&identity.key, pem("PRIVATE KEY", &key.serialize_der()))?;
        Ok(identity)
    }
}

/// Bytes in the armour of PEM.
fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        body.as_bytes().chunks(64).map(|l| std::str::from_utf8(l).unwrap_or_default()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
