//! Asking for /configz: a server with a certificate of its own, and whatever can go wrong on the way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod server;

use std::fs;
use std::net::TcpListener;
use std::sync::Arc;

use reprieve_kubernetes::{ConfigzSource, fetch_configz};
use server::{fixture, response, serve};

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("token"), "secret\n").unwrap();
        Files { folder }
    }

    fn source(&self, url: String) -> ConfigzSource {
        ConfigzSource { url, token: self.folder.path().join("token"), authorities: fixture("authority.pem") }
    }
}

/// What is said where nothing comes of it: one line.
fn refusal(source: &ConfigzSource) -> String {
    let said = fetch_configz(source).unwrap_err().to_string();
    assert!(!said.chars().any(char::is_control), "{said:?}");
    said
}

#[test]
fn the_answer_is_given_to_who_has_the_token() {
    let port = serve(|head| {
        let known = head.starts_with("GET /configz HTTP/1.1\r\n") && head.contains("uthorization: Bearer secret\r\n");
        if known {
            response("200 OK", b"{\"kubeletconfig\":{}}")
        } else {
            response("401 Unauthorized", b"Unauthorized")
        }
    });
    let files = Files::new();
    let source = files.source(format!("https://localhost:{port}/configz"));
    assert_eq!(fetch_configz(&source).unwrap(), b"{\"kubeletconfig\":{}}");
    // It is read anew each time.
    fs::write(&source.token, "wrong").unwrap();
    let url = &source.url;
    assert_eq!(refusal(&source), format!("{url}: answered with status 401: the token is not known there"));
}

#[test]
fn the_token_goes_to_nobody_else() {
    let asked = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = Arc::clone(&asked);
    let port = serve(move |_| {
        seen.store(true, std::sync::atomic::Ordering::SeqCst);
        response("200 OK", b"{}")
    });
    let files = Files::new();
    let mut source = files.source(format!("https://localhost:{port}/configz"));
    source.authorities = fixture("other-authority.pem");
    assert!(refusal(&source).contains("invalid peer certificate: UnknownIssuer"), "{}", refusal(&source));
    let mut source = files.source(format!("https://127.0.0.1:{port}/configz"));
    assert!(refusal(&source).contains("certificate not valid for name"), "{}", refusal(&source));
    source.url = format!("http://localhost:{port}/configz");
    assert!(refusal(&source).ends_with("it must begin with https://, as a token is sent there"));
    assert!(!asked.load(std::sync::atomic::Ordering::SeqCst), "no request was sent");
}

#[test]
fn redirects_are_not_followed() {
    let port = serve(|_| b"HTTP/1.1 302 Found\r\nLocation: https://localhost:1/\r\nContent-Length: 0\r\n\r\n".to_vec());
    let source = Files::new();
    let source = source.source(format!("https://localhost:{port}/configz"));
    assert!(refusal(&source).ends_with("answered with status 302"), "{}", refusal(&source));
}

#[test]
fn garbage_and_nobody_are_told_in_a_line() {
    let files = Files::new();
    let garbage = serve(|_| b"\x1b[31m garbage\r\n\r\n".to_vec());
    let cut = serve(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_vec());
    let endless = serve(|_| response("200 OK", &vec![b'x'; (1 << 20) + 1]));
    for port in [garbage, cut, endless] {
        let said = refusal(&files.source(format!("https://localhost:{port}/configz")));
        assert!(said.starts_with(&format!("https://localhost:{port}/configz: ")), "{said}");
    }
    let closed = TcpListener::bind("localhost:0").unwrap().local_addr().unwrap().port();
    let said = refusal(&files.source(format!("https://localhost:{closed}/configz")));
    assert!(said.contains("refused"), "{said}");
    assert!(refusal(&files.source("https://".to_owned())).starts_with("https://: "));
}

#[test]
fn files_without_a_token_or_a_certificate_are_told() {
    let files = Files::new();
    let mut source = files.source("https://localhost:1/configz".to_owned());
    let token = source.token.clone();
    for bad in ["", " \n", "two words", "a\u{1b}b"] {
        fs::write(&token, bad).unwrap();
        assert_eq!(refusal(&source), format!("{}: there is no token in it", token.display()));
    }
    fs::remove_file(&token).unwrap();
    assert_eq!(refusal(&source), format!("{}: No such file or directory (os error 2)", token.display()));
    fs::write(&token, "secret").unwrap();
    source.authorities = fixture("key.pem");
    assert!(refusal(&source).ends_with("key.pem: there is no certificate in it"));
}
