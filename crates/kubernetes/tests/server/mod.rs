//! A server that speaks TLS as a kubelet does, for the tests of this crate and of the command.
//!
//! fixtures/tls has an authority, a certificate of it for `localhost` with its key, and another authority; all made with
//! openssl for these tests, and valid for a hundred years.
#![allow(unreachable_pub)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A file of fixtures/tls.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tls").join(name)
}

/// Serves connections: `answer` turns the request's head into all that is sent. Returns its port.
pub fn serve(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> u16 {
    let certificate = CertificateDer::from_pem_file(fixture("certificate.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(fixture("key.pem")).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("localhost:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let _ = converse(StreamOwned::new(connection, stream), &answer);
        }
    });
    port
}

fn converse(
    mut stream: StreamOwned<ServerConnection, TcpStream>,
    answer: &impl Fn(&str) -> Vec<u8>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    stream.write_all(&answer(&String::from_utf8_lossy(&head)))?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// An answer with its length.
pub fn response(status: &str, body: &[u8]) -> Vec<u8> {
    let mut all = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    all.extend(body);
    all
}
