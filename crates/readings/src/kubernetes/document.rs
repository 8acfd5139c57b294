//! Turning a YAML or JSON text into a structure, within bounds.

use std::fmt;

use serde::de::DeserializeOwned;

use crate::escape::Escaped;

/// A text that is not what it should be. Shown as one line without control characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct DocumentError(String);

impl DocumentError {
    /// More of a parser's message than this is no help.
    const LONGEST: usize = 200;

    pub(super) fn new(message: impl fmt::Display) -> Self {
        let message = message.to_string();
        let line = message.lines().next().unwrap_or_default();
        DocumentError(Escaped(line.chars().take(Self::LONGEST).collect::<String>().as_bytes()).to_string())
    }
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The largest text that is read: a list of all pods of the largest node is some megabytes.
const LARGEST: usize = 32 * 1024 * 1024;
/// The largest YAML text: the kubelet's configuration has some kilobytes.
const LARGEST_YAML: usize = 4 * 1024 * 1024;

/// Reads JSON where the text begins like it, else YAML (of which JSON is a part, but a slow one). Depth is bounded by
/// both parsers, and what YAML's aliases may unfold to by `serde_saphyr`'s budget.
pub(super) fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, DocumentError> {
    if text.len() > LARGEST {
        return Err(DocumentError::new(format_args!("larger than {} MiB", LARGEST >> 20)));
    }
    if text.trim_ascii_start().starts_with(b"{") {
        return serde_json::from_slice(text).map_err(DocumentError::new);
    }
    if text.len() > LARGEST_YAML {
        return Err(DocumentError::new(format_args!("larger than {} MiB; give JSON", LARGEST_YAML >> 20)));
    }
    let text = std::str::from_utf8(text).map_err(|_| DocumentError::new("not UTF-8"))?;
    serde_saphyr::from_str(text).map_err(|error| DocumentError::new(error.without_snippet()))
}
