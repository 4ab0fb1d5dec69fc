//! An API server that knows one person, who may do anything, and some Workspaces. It answers the proxy's three questions.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// Starts it; the Workspace `d7` has the UID at place 7.
pub async fn start(uids: Vec<String>) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let uids = uids.clone();
            // The proxy hanging up is how it ends.
            tokio::spawn(async move { serve(tcp, &uids).await });
        }
    });
    Ok(port)
}

async fn serve(tcp: TcpStream, uids: &[String]) -> Result<()> {
    let mut stream = BufReader::new(tcp);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let path = line.split_whitespace().nth(1).context("a request has a path")?.to_owned();
        let mut length = 0;
        loop {
            let mut header = String::new();
            anyhow::ensure!(stream.read_line(&mut header).await? > 0, "the request was cut off");
            if header.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let (status, body) = answer(&path, uids);
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.get_mut().write_all((head + &body).as_bytes()).await?;
    }
}

fn answer(path: &str, uids: &[String]) -> (&'static str, Value) {
    let path = path.split('?').next().unwrap_or_default();
    if path.ends_with("/tokenreviews") {
        let status = json!({"authenticated": true, "user": {"username": "bench", "groups": ["people"]}});
        return ("201 Created", review("authentication.k8s.io/v1", "TokenReview", &status));
    }
    if path.ends_with("/subjectaccessreviews") {
        let allowed = json!({"allowed": true});
        return ("201 Created", review("authorization.k8s.io/v1", "SubjectAccessReview", &allowed));
    }
    let place = path.rsplit_once("/workspaces/d").and_then(|(_, place)| place.parse::<usize>().ok());
    match place.and_then(|place| Some((place, uids.get(place)?))) {
        Some((place, uid)) => {
            let workspace = json!({
                "apiVersion": "a8s.dev/v1alpha1", "kind": "Workspace",
                "metadata": {"name": format!("d{place}"), "namespace": "bench", "uid": uid},
                "spec": {"environment": "desktop"},
                "status": {"host": "127.0.0.1", "pod": "desktop"},
            });
            ("200 OK", workspace)
        }
        None => ("404 Not Found", json!({"kind": "Status", "code": 404, "reason": "NotFound"})),
    }
}

fn review(version: &str, kind: &str, status: &Value) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": {}, "spec": {}, "status": status})
}
