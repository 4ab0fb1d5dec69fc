//! The built page, embedded by `build.rs`.

use axum::{
    http::{StatusCode, Uri, header},
    response::{Html, IntoResponse, Response},
};

use crate::errors::Refusal;

include!(concat!(env!("OUT_DIR"), "/page.rs"));

const MISSING: &str = "<!doctype html><title>a8s</title><p>This console was built without the web page; run <code>make web</code> \
    and build again. Its API works.</p>";

/// Serves files of the page; every other address is the page itself, which reads it.
pub async fn serve(uri: Uri) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path.starts_with("api/") || path.starts_with("vnc/") {
        return Refusal::new(StatusCode::NOT_FOUND, "NotFound", "there is no such call").into_response();
    }
    if let Some(response) = find(path) {
        return response;
    }
    if path.rsplit('/').next().is_some_and(|last| last.contains('.')) {
        return (StatusCode::NOT_FOUND, "no such file\n").into_response();
    }
    find("index.html").unwrap_or_else(|| Html(MISSING).into_response())
}

fn find(path: &str) -> Option<Response> {
    let (name, bytes) = FILES.iter().find(|(name, _)| *name == path)?;
    // Names of files in assets/ hold a hash of their content.
    let cache = if name.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = [(header::CONTENT_TYPE, media_type(name)), (header::CACHE_CONTROL, cache)];
    Some((headers, *bytes).into_response())
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "woff2" => "font/woff2",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
