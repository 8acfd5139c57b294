//! Kills as they are stored, asked for and printed.

use reprieve_agent::KillRequest;
use reprieve_report::{KillLine, KillTable, TableWidth, kill_details};
use reprieve_store::{decode_kill, encode_kill};

use crate::assert_harmless;

/// A value of the store's table of kills.
pub fn stored_kill(input: &[u8]) {
    match decode_kill(input) {
        Ok(record) => {
            let again = decode_kill(&encode_kill(&record));
            assert_eq!(again.ok().as_ref(), Some(&record), "what is stored comes back");
            let line = KillLine::of(&record);
            show(&line);
            assert!(KillLine::parse(line.to_json().as_bytes()).is_ok(), "what is printed can be read");
        }
        Err(error) => assert_harmless(&error.to_string()),
    }
}

/// A line of the socket's answers, or of `reprieve kills --json`.
pub fn kill_line(input: &[u8]) {
    if let Ok(line) = KillLine::parse(input) {
        show(&line);
        assert!(KillLine::parse(line.to_json().as_bytes()).is_ok(), "what is printed can be read");
    }
}

fn show(line: &KillLine) {
    assert_harmless(&line.to_json());
    assert_harmless(&KillTable::new(TableWidth::Columns(80)).line(line));
    assert_harmless(&KillTable::new(TableWidth::Full).line(line).replace('\t', ""));
    kill_details(line).lines().for_each(assert_harmless);
}

/// The line that asks over the socket.
pub fn kill_request(input: &[u8]) {
    match KillRequest::parse(input) {
        Ok(request) => assert_eq!(KillRequest::parse(request.to_line().as_bytes()), Ok(request)),
        Err(error) => assert_harmless(&error.0),
    }
}
