//! Transcripts of the command line, which are its documentation's examples too.
#![allow(missing_docs)]

#[test]
fn the_command_line_is_as_written_down() {
    trycmd::TestCases::new().case("tests/transcripts/*.md");
}
