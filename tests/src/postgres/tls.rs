//! Servers that encrypt.

use super::Postgres;
use crate::{Certificate, Skip};

/// Who may connect: over the network only who encrypts.
const RULES: &str = "hostssl all all 127.0.0.1/32 trust\n";

impl Postgres {
    /// Starts a server that shows this certificate, and refuses clients that do not encrypt.
    ///
    /// The harness itself does, without asking whose the certificate is.
    pub async fn private_with_tls(certificate: &Certificate) -> Result<Self, Skip> {
        Self::prepared(|cluster| {
            let chain = cluster.write("server.crt", &certificate.chain);
            let key = cluster.write("server.key", &certificate.key);
            let rules = cluster.write("hba.conf", RULES);
            cluster.settings.push("ssl=on".to_owned());
            for (setting, file) in [("ssl_cert_file", chain), ("ssl_key_file", key), ("hba_file", rules)] {
                cluster.settings.push(format!("{setting}={}", file.display()));
            }
        })
        .await
    }
}
