//! `reprieve explain` on files as they come: compressed, growing, damaged, or no logs at all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/oom/corpus").join(name)
}

const CONTAINER: &str = "094-sles-5.14-harvester-cpu1-kvm-full.log";

fn explain(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reprieve"));
    command.arg("explain").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    // It may have seen enough before it read all.
    let _ = process.stdin.take().unwrap().write_all(input);
    process.wait_with_output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The victims' pids of each report.
fn victims(output: &Output) -> Vec<Vec<u64>> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let reports = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    reports
        .map(|report| {
            let victims = report["victims"].as_array().unwrap();
            victims.iter().map(|victim| victim["pid"].as_u64().unwrap()).collect()
        })
        .collect()
}

#[test]
fn compressed_logs_are_read() {
    let log = fs::read(corpus(CONTAINER)).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&log).unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(&log[..], ruzstd::encoding::CompressionLevel::Fastest);
    let mut xz = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
    xz.write_all(&log).unwrap();
    let archives = [("gz", gzip.finish().unwrap()), ("zst", zstd), ("xz", xz.finish().unwrap())];
    let directory = tempfile::tempdir().unwrap();
    for (kind, archive) in archives {
        // Two archives one after the other are both read, as zcat, zstdcat and xzcat do.
        let file = directory.path().join("log");
        fs::write(&file, archive.repeat(2)).unwrap();
        let output = explain(&["--json", file.to_str().unwrap()], b"");
        assert_eq!((output.status.code(), victims(&output)), (Some(0), vec![vec![24790], vec![24790]]), "{kind}");
        assert_eq!(victims(&explain(&["--json"], &archive)), [[24790]], "{kind} from standard input");

        let cut = &archive[..archive.len() / 2];
        let damaged = explain(&["--json"], cut);
        assert_eq!(damaged.status.code(), Some(2), "{kind}");
        assert!(stderr(&damaged).starts_with("reprieve: -: the rest can't be read: "), "{kind}: {}", stderr(&damaged));
    }
}

#[test]
fn what_is_no_log_holds_no_report() {
    let utf16: Vec<u8> = "Out of memory: Killed nobody\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let binary: Vec<u8> =
        (0..100_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let words = b"the process was killed by the user; Killed process accounting is off\n".as_slice();
    for input in [b"".as_slice(), b"\n\n\n", &utf16, &binary, words] {
        let output = explain(&["--json"], input);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), b"".as_slice()));
        assert_eq!(stderr(&output), "reprieve: no report of the kernel's OOM killer found\n");
    }
}

#[test]
fn a_log_in_utf_16_is_read() {
    let log = fs::read_to_string(corpus(CONTAINER)).unwrap();
    let utf16: Vec<u8> = [0xfeff].into_iter().chain(log.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    assert_eq!(victims(&explain(&["--json"], &utf16)), [[24790]]);
}

#[test]
fn several_files_are_named() {
    let (first, second) = (corpus(CONTAINER), corpus("009-6.1.1-arch-global-noprefix.log"));
    let output = explain(&["--json", first.to_str().unwrap(), second.to_str().unwrap()], b"");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let sources: Vec<Value> =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["source"].clone()).collect();
    assert_eq!(sources, [first.to_str().unwrap(), second.to_str().unwrap()]);
}

#[test]
fn older_reports_are_left_out() {
    // A log with whole dates and zones.
    let log = corpus("118-rfc3339-comm-unbalanced-paren-6.14.log");
    let log = log.to_str().unwrap();
    assert_eq!(explain(&["--json", log], b"").status.code(), Some(0));
    assert_eq!(explain(&["--json", "--since", "2020-01-01T00:00:00Z", log], b"").status.code(), Some(0));
    assert_eq!(explain(&["--json", "--since", "2100-01-01T00:00:00Z", log], b"").status.code(), Some(1));
}

#[test]
fn a_growing_log_is_followed_through_its_rotation() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kern.log");
    fs::write(&path, "").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_reprieve"));
    command.args(["explain", "--json", "--follow"]).arg(&path).stdout(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut next_kernel =
        || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap()["victims"][0]["pid"].clone();

    let report = fs::read(corpus(CONTAINER)).unwrap();
    File::options().append(true).open(&path).unwrap().write_all(&report).unwrap();
    assert_eq!(next_kernel(), 24790);
    fs::rename(&path, directory.path().join("kern.log.1")).unwrap();
    fs::write(&path, &report).unwrap();
    assert_eq!(next_kernel(), 24790);
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn whoever_has_seen_enough_ends_it() {
    let log = fs::read(corpus(CONTAINER)).unwrap().repeat(200);
    let mut command = Command::new(env!("CARGO_BIN_EXE_reprieve"));
    command.arg("explain").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let mut stdin = process.stdin.take().unwrap();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&log)));
    let mut byte = [0];
    process.stdout.take().unwrap().read_exact(&mut byte).unwrap();
    writer.join().unwrap();
    let output = process.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
}
