//! The part that remembers: entries in a file, one JSON text a line.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ::http::{Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::Full;

use super::http::{serve, text};
use super::{Problem, variable};

/// Entries kept; the oldest go first from the answer, never from the file.
const SHOWN: usize = 100;

struct Book {
    file: File,
    entries: Vec<String>,
}

pub(super) async fn run() -> Result<(), Problem> {
    let folder = variable("DATA_DIR")?;
    let token = std::fs::read_to_string(variable("TOKEN_FILE")?)?.trim().to_owned();
    let book = Arc::new(Mutex::new(Book::open(&Path::new(&folder).join("entries.jsonl"))?));
    serve(move |request| {
        let answer = answer(&request, &book, &token);
        async move { answer }
    })
    .await
}

fn answer(request: &Request<Bytes>, book: &Mutex<Book>, token: &str) -> Response<Full<Bytes>> {
    let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/healthz") => text(StatusCode::OK, "text/plain", "ok\n"),
        (&Method::GET, "/entries") => match serde_json::to_vec(book.latest()) {
            Ok(json) => text(StatusCode::OK, "application/json", json),
            Err(problem) => failed(&problem),
        },
        (&Method::POST, "/entries") => {
            let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
            if given.and_then(|value| value.strip_prefix("Bearer ")) != Some(token) {
                return text(StatusCode::UNAUTHORIZED, "text/plain", "the token is wrong\n");
            }
            let Ok(entry) = std::str::from_utf8(request.body()) else {
                return text(StatusCode::BAD_REQUEST, "text/plain", "an entry is UTF-8 text\n");
            };
            match book.append(entry) {
                Ok(()) => text(StatusCode::CREATED, "text/plain", "written\n"),
                Err(problem) => failed(&*problem),
            }
        }
        _ => text(StatusCode::NOT_FOUND, "text/plain", "there is only /entries\n"),
    }
}

fn failed(problem: &dyn std::error::Error) -> Response<Full<Bytes>> {
    eprintln!("{problem}");
    text(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{problem}\n"))
}

impl Book {
    fn open(path: &Path) -> Result<Self, Problem> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let lines = BufReader::new(file.try_clone()?).lines();
        let entries: Result<_, Problem> = lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect();
        Ok(Self { file, entries: entries? })
    }

    fn latest(&self) -> &[String] {
        &self.entries[self.entries.len().saturating_sub(SHOWN)..]
    }

    fn append(&mut self, entry: &str) -> Result<(), Problem> {
        let mut line = serde_json::to_string(entry)?;
        line.push('\n');
        self.file.write_all(line.as_bytes())?;
        self.file.sync_data()?;
        self.entries.push(entry.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(entry: &'static str, token: &str) -> Request<Bytes> {
        Request::post("/entries")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Bytes::from_static(entry.as_bytes()))
            .unwrap()
    }

    #[test]
    fn entries_outlive_the_process_and_need_the_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("entries.jsonl");
        let book = Mutex::new(Book::open(&path).unwrap());
        assert_eq!(
            answer(&post("line one\nline two", "right"), &book, "right").status(),
            StatusCode::CREATED
        );
        assert_eq!(answer(&post("spam", "wrong"), &book, "right").status(), StatusCode::UNAUTHORIZED);
        assert_eq!(Book::open(&path).unwrap().latest(), ["line one\nline two"]);
    }
}
