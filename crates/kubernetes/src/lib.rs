//! The only crate that talks to Kubernetes. One question so far: the configuration that a kubelet runs with, which its
//! `/configz` tells, on its own port 10250 or through the API server (`/api/v1/nodes/NODE/proxy/configz`).
//!
//! A token goes to nobody who does not prove himself by the given certificates: no plain HTTP, no redirects, no proxies,
//! and no way to switch the check off. The answer is bytes; what they mean is read elsewhere.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// Where a kubelet's configuration is asked for, and how both sides prove who they are.
#[derive(Debug, Clone)]
pub struct ConfigzSource {
    /// Such as `https://node:10250/configz`.
    pub url: String,
    /// A file with a bearer token. It is read each time, since Kubernetes renews it.
    pub token: PathBuf,
    /// A file with the certificates, in PEM, of whom to trust.
    pub authorities: PathBuf,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ConfigzError {
    /// Plain HTTP, or no URL.
    #[error("{0}: it must begin with https://, as a token is sent there")]
    NotSecure(String),
    /// A file that is needed can't be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There are no certificates, or no token, in the file.
    #[error("{path}: there is no {wanted} in it")]
    Empty {
        /// The file.
        path: PathBuf,
        /// What should be there.
        wanted: &'static str,
    },
    /// Nobody answered there, or not who was expected.
    #[error("{url}: {reason}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// Why not.
        reason: String,
    },
    /// It was refused.
    #[error("{url}: answered with status {status}{}", hint(*.status))]
    Refused {
        /// What was asked.
        url: String,
        /// HTTP's number.
        status: u16,
    },
}

fn hint(status: u16) -> &'static str {
    match status {
        401 => ": the token is not known there",
        403 => ": the token's owner may not `get` nodes/proxy (or nodes/configz)",
        _ => "",
    }
}

/// For all of it, from the first packet to the last.
const PATIENCE: Duration = Duration::from_secs(5);
/// A kubelet's configuration has about 6 KB.
const LARGEST_ANSWER: u64 = 1 << 20;
const LARGEST_FILE: u64 = 1 << 20;

/// Asks for the configuration. Blocks for 5 seconds at most.
///
/// # Errors
/// No answer of at most 1 MiB came, with the reason in one line.
pub fn fetch_configz(source: &ConfigzSource) -> Result<Vec<u8>, ConfigzError> {
    if !source.url.starts_with("https://") {
        return Err(ConfigzError::NotSecure(source.url.clone()));
    }
    let token = read_token(&source.token)?;
    let authorities = read_certificates(&source.authorities)?;
    let unreachable = |error: ureq::Error| ConfigzError::Unreachable {
        url: source.url.clone(),
        reason: one_line(&error.to_string()),
    };
    let agent = agent(authorities);
    let request = agent.get(&source.url).header("Authorization", format!("Bearer {token}"));
    let mut answer = request.call().map_err(unreachable)?;
    let status = answer.status().as_u16();
    if status != 200 {
        return Err(ConfigzError::Refused { url: source.url.clone(), status });
    }
    answer.body_mut().with_config().limit(LARGEST_ANSWER).read_to_vec().map_err(unreachable)
}

fn agent(authorities: Vec<Certificate<'static>>) -> Agent {
    let tls = TlsConfig::builder().root_certs(RootCerts::Specific(Arc::new(authorities))).build();
    let settings = Agent::config_builder()
        .tls_config(tls)
        .https_only(true)
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .user_agent(concat!("reprieve/", env!("CARGO_PKG_VERSION")));
    Agent::new_with_config(settings.build())
}

fn read_token(path: &Path) -> Result<String, ConfigzError> {
    let text = read(path)?;
    let token = text.trim_ascii();
    // Whatever else can't stand in a header.
    if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
        return Err(ConfigzError::Empty { path: path.to_owned(), wanted: "token" });
    }
    Ok(String::from_utf8_lossy(token).into_owned())
}

fn read_certificates(path: &Path) -> Result<Vec<Certificate<'static>>, ConfigzError> {
    let text = read(path)?;
    let certificates: Vec<_> = parse_pem(&text)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(ConfigzError::Empty { path: path.to_owned(), wanted: "certificate" });
    }
    Ok(certificates)
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigzError> {
    let mut text = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(LARGEST_FILE).read_to_end(&mut text));
    read.map_err(|error| ConfigzError::Unreadable { path: path.to_owned(), error })?;
    Ok(text)
}

/// A library's message, which may quote what the other side has sent.
fn one_line(message: &str) -> String {
    message.chars().map(|char| if char.is_control() { ' ' } else { char }).take(300).collect()
}
