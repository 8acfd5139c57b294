//! A limit that can't be seen, told by whoever started the container.
//!
//! On v2 a container in a cgroup namespace can't see its pod's limit. Kubernetes can tell it: in the environment, or in
//! a file of a downward API volume.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use reprieve_linux::{ReadError, read_small_file};
use reprieve_readings::{Bytes, ParseError, parse_quantity};

/// The environment variable that tells a pod's limit: an amount such as `512Mi`, or the absolute path of a file that
/// holds one.
pub const POD_LIMIT_VARIABLE: &str = "REPRIEVE_POD_LIMIT";

/// Why a told limit can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PodLimitError {
    /// It is no amount of memory.
    #[error("{POD_LIMIT_VARIABLE} is neither an amount of memory nor the path of a file with one")]
    Malformed(#[from] ParseError),
    /// The file that it names can't be read.
    #[error("{POD_LIMIT_VARIABLE} names a file that can't be read")]
    Unreadable(#[from] ReadError),
}

/// The limit that [`POD_LIMIT_VARIABLE`] tells; `None` where it is unset or empty.
///
/// # Errors
/// It is neither an amount nor the path of a file with one.
pub fn pod_limit_from_environment() -> Result<Option<Bytes>, PodLimitError> {
    match std::env::var_os(POD_LIMIT_VARIABLE) {
        Some(told) if !told.is_empty() => read_pod_limit(told).map(Some),
        _ => Ok(None),
    }
}

fn read_pod_limit(told: OsString) -> Result<Bytes, PodLimitError> {
    let text = if told.as_bytes().starts_with(b"/") { read_small_file(Path::new(&told))? } else { told.into_vec() };
    Ok(parse_quantity(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_or_a_file_with_one() {
        assert_eq!(read_pod_limit("512Mi".into()).unwrap(), Bytes::from_mib(512));
        let file = std::env::temp_dir().join(format!("reprieve-pod-limit-{}", std::process::id()));
        std::fs::write(&file, "268435456").unwrap();
        assert_eq!(read_pod_limit(file.clone().into()).unwrap(), Bytes::from_mib(256));
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(read_pod_limit(file.into()), Err(PodLimitError::Unreadable(_))));
        assert!(matches!(read_pod_limit("half".into()), Err(PodLimitError::Malformed(_))));
    }
}
