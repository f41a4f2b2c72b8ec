//! The part people see: a page with the entries, and a form for a new one.

use std::fmt::Write;
use std::sync::Arc;

use ::http::{Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::Full;

use super::http::{ask, serve, text};
use super::{Problem, service, variable};

const HTML: &str = "text/html; charset=utf-8";

struct Page {
    title: String,
    version: String,
    pod: String,
    store: String,
    quotes: String,
    token: String,
}

pub(super) async fn run() -> Result<(), Problem> {
    let page = Arc::new(Page {
        title: variable("TITLE")?,
        version: variable("VERSION")?,
        pod: variable("POD_NAME")?,
        store: service("STORE")?,
        quotes: service("QUOTES")?,
        token: variable("TOKEN")?,
    });
    serve(move |request| {
        let page = page.clone();
        async move { page.answer(request).await }
    })
    .await
}

impl Page {
    async fn answer(&self, request: Request<Bytes>) -> Response<Full<Bytes>> {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/healthz") => text(StatusCode::OK, "text/plain", "ok\n"),
            (&Method::GET, "/version") => text(StatusCode::OK, "text/plain", format!("{}\n", self.version)),
            (&Method::GET, "/") => match self.entries().await {
                Ok(entries) => text(StatusCode::OK, HTML, self.render(&entries, &self.quote().await)),
                Err(problem) => unavailable(&problem),
            },
            (&Method::POST, "/") => match self.write(request.body()).await {
                Ok(()) => {
                    let mut response = text(StatusCode::SEE_OTHER, "text/plain", "written\n");
                    response.headers_mut().insert(header::LOCATION, header::HeaderValue::from_static("/"));
                    response
                }
                Err(problem) => unavailable(&problem),
            },
            _ => text(StatusCode::NOT_FOUND, "text/plain", "there is only /\n"),
        }
    }

    async fn entries(&self) -> Result<Vec<String>, Problem> {
        let answer = ask(&self.store, Request::get("/entries"), Bytes::new()).await?;
        if answer.status() != StatusCode::OK {
            return Err(format!("the store answered {}", answer.status()).into());
        }
        Ok(serde_json::from_slice(answer.body())?)
    }

    async fn write(&self, form: &Bytes) -> Result<(), Problem> {
        let entry = field(form, b"entry").ok_or("the form has no entry")?;
        let request =
            Request::post("/entries").header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        let answer = ask(&self.store, request, entry.into()).await?;
        if answer.status() != StatusCode::CREATED {
            return Err(format!("the store answered {}", answer.status()).into());
        }
        Ok(())
    }

    /// A line for the top of the page. The page does without when nobody has one.
    async fn quote(&self) -> String {
        match ask(&self.quotes, Request::get("/"), Bytes::new()).await {
            Ok(answer) if answer.status() == StatusCode::OK => {
                String::from_utf8_lossy(answer.body()).into_owned()
            }
            Ok(answer) => {
                eprintln!("no quote: {}", answer.status());
                String::new()
            }
            Err(problem) => {
                eprintln!("no quote: {problem}");
                String::new()
            }
        }
    }

    fn render(&self, entries: &[String], quote: &str) -> String {
        let mut list = String::new();
        for entry in entries.iter().rev() {
            // Writing to a String cannot fail.
            let _ = writeln!(list, "<li>{}</li>", escape(entry));
        }
        format!(
            "<!doctype html>\n<html lang=en><meta charset=utf-8>\
             <meta name=viewport content=\"width=device-width\"><title>{title}</title>\n\
             <style>body{{font:1.1rem/1.5 system-ui;max-width:36rem;margin:3rem auto;padding:0 1rem}}\
             blockquote{{color:#666;margin:0}}footer{{color:#888;font-size:.8rem}}input{{font:inherit;width:70%}}\
             button{{font:inherit}}</style>\n\
             <h1>{title}</h1><blockquote>{quote}</blockquote>\n\
             <form method=post><input name=entry required maxlength=500 autofocus aria-label=Entry> \
             <button>Sign</button></form>\n<ul>\n{list}</ul>\n<footer>{version}, served by {pod}</footer>\n</html>\n",
            title = escape(&self.title),
            quote = escape(quote),
            version = escape(&self.version),
            pod = escape(&self.pod),
        )
    }
}

fn unavailable(problem: &Problem) -> Response<Full<Bytes>> {
    eprintln!("{problem}");
    text(StatusCode::BAD_GATEWAY, "text/plain; charset=utf-8", format!("{problem}\n"))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The value of one field of a form as browsers send it (`application/x-www-form-urlencoded`).
fn field(form: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    form.split(|byte| *byte == b'&').find_map(|pair| {
        let (key, value) = pair.split_at(pair.iter().position(|byte| *byte == b'=')?);
        (key == name).then(|| decode(&value[1..]))
    })
}

fn decode(encoded: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((first, behind)) = rest.split_first() {
        let hex = behind.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (first, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                plain.push(byte);
                rest = &behind[2..];
            }
            (b'+', _) => {
                plain.push(b' ');
                rest = behind;
            }
            (byte, _) => {
                plain.push(*byte);
                rest = behind;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_field_is_decoded_and_broken_escapes_stay_as_they_are() {
        assert_eq!(field(b"a=1&entry=gr%C3%BC%C3%9F+dich%21", b"entry").unwrap(), "grüß dich!".as_bytes());
        assert_eq!(field(b"entry=100%", b"entry").unwrap(), b"100%");
        assert_eq!(field(b"entry=%zz%+", b"entry").unwrap(), b"%zz% ");
        assert_eq!(field(b"other=1", b"entry"), None);
    }

    #[test]
    fn entries_cannot_smuggle_markup_into_the_page() {
        assert_eq!(escape("<b onclick=\"x\">&"), "&lt;b onclick=&quot;x&quot;&gt;&amp;");
    }
}
