//! What is said over the socket. One line of JSON asks:
//!
//! `{"version":1,"ask":"kills","since_millis":1790000000000,"pod":"1111","container":"0123","invisible":true,"id":12,`
//! `"follow":true}`
//!
//! All but `version` and `ask` may be missing. Kills come as lines, oldest first, each as `reprieve kills --json` prints
//! it. A line with the key `end` closes what was there when it was asked; whoever follows gets kills after it. A line with
//! the key `error` is the last one: it says what went wrong.

use std::time::Duration;

use reprieve_judgement::{KillFilter, KillId};
use reprieve_readings::Escaped;
use serde::{Deserialize, Serialize};

/// The socket's name in the state directory.
pub const SOCKET_NAME: &str = "agent.sock";

/// The version of what is said.
const VERSION: u64 = 1;

/// As long as the line that asks may be.
pub(super) const LONGEST_REQUEST: usize = 4096;

/// Asks for kills.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KillRequest {
    /// Which ones.
    pub filter: KillFilter,
    /// Only the one with that number.
    pub id: Option<KillId>,
    /// Whether to go on with those that are told from now on.
    pub follow: bool,
}

/// What can't be answered, in words for who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRequest(pub String);

#[derive(Serialize, Deserialize)]
struct Line {
    version: u64,
    ask: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    since_millis: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    #[serde(default)]
    invisible: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(default)]
    follow: bool,
}

/// A line that is no kill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Closing {
    /// These were all.
    End {
        /// Always true.
        end: bool,
        /// Kills that are stored in a form which makes no sense, and are left out.
        unreadable: u64,
        /// Why kills are in the agent's memory only, if they are.
        #[serde(skip_serializing_if = "Option::is_none")]
        memory_only: Option<String>,
    },
    /// There are no more: something went wrong.
    Error {
        /// What.
        error: String,
    },
}

impl KillRequest {
    /// The line that asks, without its end.
    pub fn to_line(&self) -> String {
        let KillFilter { since, pod, container, invisible } = &self.filter;
        let line = Line {
            version: VERSION,
            ask: "kills".into(),
            since_millis: since.map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            pod: pod.clone(),
            container: container.clone(),
            invisible: *invisible,
            id: self.id.map(|id| id.0),
            follow: self.follow,
        };
        // Numbers and strings always serialise.
        serde_json::to_string(&line).unwrap_or_default()
    }

    /// Reads the line that asks.
    ///
    /// # Errors
    /// It is none, or of another version.
    pub fn parse(line: &[u8]) -> Result<Self, BadRequest> {
        let line: Line = serde_json::from_slice(line).map_err(|error| {
            // It may quote what was asked.
            BadRequest(format!("no request: {}", Escaped(error.to_string().as_bytes())))
        })?;
        if line.version != VERSION {
            let hint = "use the same version of reprieve as the agent";
            return Err(BadRequest(format!("this agent speaks version {VERSION}, not {}: {hint}", line.version)));
        }
        if line.ask != "kills" {
            return Err(BadRequest("this agent can be asked for kills only".into()));
        }
        Ok(KillRequest {
            filter: KillFilter {
                since: line.since_millis.map(Duration::from_millis),
                pod: line.pod,
                container: line.container,
                invisible: line.invisible,
            },
            id: line.id.map(KillId),
            follow: line.follow,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::option::of;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_can_t_be_answered_is_told() {
        let refused = |line: &str| KillRequest::parse(line.as_bytes()).unwrap_err().0;
        assert!(refused("").starts_with("no request: "));
        assert!(refused("GET / HTTP/1.1").starts_with("no request: "));
        assert!(refused(r#"{"version":2,"ask":"kills"}"#).contains("speaks version 1, not 2"));
        assert!(refused(r#"{"version":1,"ask":"secrets"}"#).contains("kills only"));
        let least = KillRequest::parse(br#"{"version":1,"ask":"kills","more":1}"#).unwrap();
        assert_eq!(least, KillRequest::default());
    }

    proptest! {
        #[test]
        fn parse_after_print_is_identity(
            since in any::<Option<u64>>(),
            pod: Option<String>,
            container: Option<String>,
            flags: (bool, bool),
            id in of(any::<u64>().prop_map(KillId)),
        ) {
            let filter =
                KillFilter { since: since.map(Duration::from_millis), pod, container, invisible: flags.0 };
            let request = KillRequest { filter, id, follow: flags.1 };
            let line = request.to_line();
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(KillRequest::parse(line.as_bytes()), Ok(request));
        }

        #[test]
        fn no_bytes_panic(line: Vec<u8>) {
            let _ = KillRequest::parse(&line);
        }
    }
}
