//! The process that writes to `memory.force_empty` for the agent: it must never be left over.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::fs::{self, File};
use std::io::{PipeWriter, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

fn writer(parent: u32) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reprieve"));
    command.args(["force-empty-writer", &parent.to_string()]).stdin(Stdio::null());
    command
}

#[test]
fn it_writes_for_its_parent_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("memory.force_empty");
    let run = |parent| {
        let output = writer(parent).stdout(File::create(&path).unwrap()).output().unwrap();
        (output.status.code(), fs::read_to_string(&path).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(run(std::process::id()), (Some(0), "0".to_owned(), String::new()));
    let (code, written, said) = run(1);
    assert_eq!((code, written.as_str()), (Some(2), ""), "the agent that called it has ended");
    assert_eq!(said, "reprieve: memory.force_empty: No such process (os error 3)\n");
}

/// A pipe that takes nothing more, so that writing to it lasts as `memory.force_empty` does.
fn full_pipe() -> (std::io::PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[0; 65536]).unwrap();
    (reader, writer)
}

fn waits_in_write(child: &Child) -> bool {
    let file = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", child.id())).unwrap();
    let limited = file("limits").lines().any(|line| line.starts_with("Max cpu time") && line.contains(" 1 "));
    limited && file("wchan").contains("pipe_write")
}

#[test]
fn it_ends_with_the_thread_that_started_it_and_has_little_processor_time() {
    let (_reader, pipe) = full_pipe();
    let (sender, receiver) = channel();
    let agent = thread::spawn(move || {
        let child = writer(std::process::id()).stdout(pipe).spawn().unwrap();
        while !waits_in_write(&child) {
            thread::sleep(Duration::from_millis(5));
        }
        sender.send(child).unwrap();
    });
    agent.join().unwrap();
    let status = receiver.recv().unwrap().wait().unwrap();
    assert_eq!(status.signal(), Some(9));
}
