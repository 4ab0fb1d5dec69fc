//! Asks a process whether it is ready. A question never takes longer than two seconds.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::components::Ready;

const PATIENCE: Duration = Duration::from_secs(1);

/// Whether the evidence is there now.
pub fn is_ready(ready: &Ready) -> bool {
    match ready {
        Ready::Running => true,
        Ready::Unix(path) => UnixStream::connect(path).is_ok(),
        Ready::Http { address, path } => http_ok(address, path).unwrap_or(false),
        Ready::Command(argv) => argv.split_first().is_some_and(|(program, args)| {
            let mut command = Command::new(program);
            command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|s| s.success())
        }),
    }
}

fn http_ok(address: &str, path: &str) -> std::io::Result<bool> {
    let address: SocketAddr = address.parse().map_err(std::io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // In one piece: a server may answer and close before it has read a second one.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(head.ends_with(b" 200"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn server(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let _ = stream.read(&mut request);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn only_the_status_200_counts_as_ready() {
        let at = |answer| Ready::Http { address: server(answer), path: "/".to_owned() };
        assert!(is_ready(&at("HTTP/1.0 200 OK\r\n\r\n")));
        assert!(!is_ready(&at("HTTP/1.0 503 no\r\n\r\n")));
        assert!(!is_ready(&Ready::Http { address: "127.0.0.1:1".to_owned(), path: "/".to_owned() }));
    }

    #[test]
    fn a_socket_file_without_a_listener_is_not_ready() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(!is_ready(&Ready::Unix(path)));
    }
}
