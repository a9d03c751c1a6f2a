//! TLS to a relay: 1.2 or newer, certificate and name verified against the system's roots and the operator's own.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;
use tokio_rustls::TlsConnector;

use super::outcome::{Cause, Failure, Phase};

/// Why TLS cannot be set up on this machine.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// The file of extra roots cannot be read.
    #[error("cannot read the certificates in {path}")]
    Roots {
        /// The file.
        path: String,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// The file of extra roots holds no certificate.
    #[error("there is no certificate in {0}: it must be a PEM file with BEGIN CERTIFICATE")]
    NoRoots(String),
    /// The system has no roots, or one of the extra roots is none.
    #[error("cannot set up certificate verification")]
    Verifier(#[from] rustls::Error),
}

/// A connector that trusts the system's roots and those in `extra_roots`.
pub(crate) fn connector(extra_roots: Option<&Path>) -> Result<TlsConnector, TlsSetupError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let roots = extra_roots.map(read_roots).transpose()?.unwrap_or_default();
    let verifier = Verifier::new_with_extra_roots(roots, provider.clone())?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    let unreadable = |source| TlsSetupError::Roots {
        path: path.display().to_string(),
        source,
    };
    let roots = CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    if roots.is_empty() {
        return Err(TlsSetupError::NoRoots(path.display().to_string()));
    }
    Ok(roots)
}

/// Tells a handshake that broke from one that can never succeed.
pub(crate) fn handshake_failure(error: &io::Error) -> Failure {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let cause = match inner {
        Some(inner) if is_final(inner) => Cause::Unfit(format!("no secure connection: {inner}")),
        Some(_) | None => Cause::Lost(error.to_string()),
    };
    Failure::new(Phase::Tls, cause)
}

/// Whether waiting cannot help: a certificate, a name, a protocol version, or no TLS at all on that port.
fn is_final(error: &rustls::Error) -> bool {
    use rustls::{AlertDescription as Alert, Error};
    match error {
        Error::AlertReceived(alert) => matches!(
            alert,
            Alert::ProtocolVersion | Alert::HandshakeFailure | Alert::InsufficientSecurity
        ),
        Error::InvalidCertificate(_)
        | Error::NoCertificatesPresented
        | Error::UnsupportedNameType
        | Error::PeerIncompatible(_)
        | Error::PeerMisbehaved(_)
        | Error::InvalidMessage(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, Error, PeerIncompatible, PeerMisbehaved};

    use super::super::outcome::Verdict;
    use super::*;

    #[test]
    fn a_relay_that_can_agree_on_no_protection_is_halted_and_a_handshake_that_broke_is_not() {
        let alert = Error::AlertReceived;
        for (error, verdict) in [
            (
                alert(AlertDescription::ProtocolVersion),
                Verdict::RelayHalted,
            ),
            (
                alert(AlertDescription::HandshakeFailure),
                Verdict::RelayHalted,
            ),
            (
                alert(AlertDescription::InsufficientSecurity),
                Verdict::RelayHalted,
            ),
            (
                Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
                Verdict::RelayHalted,
            ),
            (Error::NoCertificatesPresented, Verdict::RelayHalted),
            (
                alert(AlertDescription::InternalError),
                Verdict::RelayBackOff(None),
            ),
            (Error::DecryptError, Verdict::RelayBackOff(None)),
        ] {
            let told = io::Error::new(io::ErrorKind::InvalidData, error.clone());
            assert_eq!(handshake_failure(&told).verdict(), verdict, "{error}");
        }
        let broke = io::Error::from(io::ErrorKind::ConnectionReset);
        let verdict = handshake_failure(&broke).verdict();
        assert_eq!(verdict, Verdict::RelayBackOff(None));
    }

    #[test]
    fn a_relay_that_breaks_the_rules_of_tls_or_whose_name_cannot_be_checked_is_halted() {
        for error in [
            Error::PeerMisbehaved(PeerMisbehaved::BadCertChainExtensions),
            Error::UnsupportedNameType,
        ] {
            let told = io::Error::new(io::ErrorKind::InvalidData, error.clone());
            let verdict = handshake_failure(&told).verdict();
            assert_eq!(verdict, Verdict::RelayHalted, "{error}");
        }
    }

    #[test]
    fn a_file_of_roots_that_cannot_be_read_to_its_end_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let begin = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        std::fs::write(file("cut-off.pem"), begin).unwrap();
        let garbled = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
        std::fs::write(file("garbled.pem"), garbled).unwrap();
        for name in ["missing.pem", "cut-off.pem", "garbled.pem"] {
            let refusal = connector(Some(&file(name))).err();
            let Some(TlsSetupError::Roots { path, .. }) = &refusal else {
                panic!("{name}: {refusal:?}");
            };
            assert_eq!(*path, file(name).display().to_string());
        }
    }

    #[test]
    fn every_certificate_of_a_file_of_roots_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let root =
            |text| format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
        std::fs::write(&path, ["AAAA", "BBBB", "CCCC"].map(root).concat()).unwrap();
        let roots = read_roots(&path).unwrap();
        let expected: Vec<_> = [[0, 0, 0], [4, 16, 65], [8, 32, 130]]
            .map(|bytes| CertificateDer::from(bytes.to_vec()))
            .into();
        assert_eq!(roots, expected);
    }

    #[test]
    fn a_file_of_roots_without_a_certificate_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        for text in ["", "not a certificate\n", key] {
            std::fs::write(&path, text).unwrap();
            let refusal = connector(Some(&path)).err();
            assert!(
                matches!(refusal, Some(TlsSetupError::NoRoots(_))),
                "{text:?}: {refusal:?}"
            );
        }
    }
}
