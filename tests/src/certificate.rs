//! Certificates for servers of the tests, made when they are needed.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::run::Run;

/// Signs certificates; whoever trusts it trusts them.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

/// What a server shows to prove who it is.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate, as PEM.
    pub chain: String,
    /// Its private key, as PEM.
    pub key: String,
}

impl Authority {
    /// A new one, that nobody trusts yet.
    pub fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let folder = Run::current().new_folder("authority-");
        std::fs::write(folder.path().join("root.pem"), parameters.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(parameters, key), folder }
    }

    /// The file that those who trust it are given.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// A certificate for the server of this name or IP address.
    pub fn certify(&self, host: &str) -> Certificate {
        self.sign(CertificateParams::new([host.to_owned()]).unwrap())
    }

    /// A certificate that was valid until some years ago.
    pub fn certify_expired(&self, host: &str) -> Certificate {
        let mut parameters = CertificateParams::new([host.to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2001, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2002, 1, 1);
        self.sign(parameters)
    }

    fn sign(&self, parameters: CertificateParams) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        Certificate { chain: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
