//! Pages that come through a proxy, whose links are to stay inside it: `/x` becomes `/api/v1/…/proxy/x`, as upstream has it.
//!
//! A page is changed as it passes; what is held of it is one tag at most.

use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Body as HttpBody, Frame};
use tower::BoxError;

use crate::body::Body;

/// Longer tags pass as they are.
const MAX_TAG: usize = 64 * 1024;

/// Attributes that are addresses, by element.
const ADDRESSES: [(&str, &[&str]); 26] = [
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("track", &["src"]),
    ("video", &["poster", "src"]),
];

/// Elements whose content is text, whatever it looks like.
const RAW: [&str; 8] = ["script", "style", "textarea", "title", "iframe", "noembed", "noframes", "xmp"];

/// Where a proxy's client believes to be.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The path up to `proxy`.
    pub(crate) prefix: String,
    /// The host that was asked, and the one that the client named; others are left alone. `None`: all are this one.
    pub(crate) hosts: Option<[String; 2]>,
}

impl Place {
    /// The address inside the proxy; unchanged where it leads elsewhere, or nowhere in particular.
    pub(crate) fn inside<'a>(&self, address: &'a str) -> Cow<'a, str> {
        let unchanged = Cow::Borrowed(address);
        let (host, path) = match parts(address) {
            Some(found) => found,
            None => return unchanged,
        };
        let [asked, named] = match &self.hosts {
            Some([asked, named]) => [asked.as_str(), named.as_str()],
            None => [host; 2],
        };
        if !host.is_empty() && host != asked && host != named {
            return unchanged;
        }
        // An address that names the client's host already keeps it, and anything else loses its host.
        let kept = match address.strip_suffix(path) {
            Some(before) if !host.is_empty() && host == named && self.hosts.is_some() => before,
            _ => "",
        };
        if path.starts_with(&self.prefix) && kept.is_empty() && host.is_empty() {
            return unchanged;
        }
        let prefix = if path.starts_with(&self.prefix) { "" } else { self.prefix.as_str() };
        Cow::Owned(format!("{kept}{prefix}{path}"))
    }
}

/// The host, if it has one, and the rest from the path on, of an address with an absolute path.
fn parts(address: &str) -> Option<(&str, &str)> {
    let after = match address.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) => {
            rest
        }
        _ => match address.strip_prefix("//") {
            Some(rest) => rest,
            None => return address.starts_with('/').then_some(("", address)),
        },
    };
    let at = after.find('/')?;
    Some(after.split_at(at))
}

/// Whether a body is a page that can be read.
pub(crate) fn is_page(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
    media.split(';').next().is_some_and(|media| media.trim() == "text/html")
        && !headers.contains_key(header::CONTENT_ENCODING)
}

/// Changes a page as it passes.
#[derive(Debug)]
struct Rewriter {
    place: Place,
    held: Vec<u8>,
    within: Within,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Markup,
    Comment,
    /// The text of an element that has nothing but text.
    Raw(&'static str),
}

impl Rewriter {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.held.extend_from_slice(bytes);
        let held = std::mem::take(&mut self.held);
        let mut rest = held.as_slice();
        while let Some(taken) = self.step(rest, out) {
            rest = rest.get(taken..).unwrap_or_default();
        }
        self.held = rest.to_vec();
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
    }

    /// Takes one piece: how much of it; nothing when more has to come first.
    fn step(&mut self, rest: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let pass = |out: &mut Vec<u8>, count: usize| {
            out.extend_from_slice(rest.get(..count).unwrap_or(rest));
            Some(count)
        };
        if rest.is_empty() {
            return None;
        }
        let end = match self.within {
            Within::Comment => find(rest, b"-->").map(|at| at + 3),
            Within::Raw(name) => find_ignoring_case(rest, &format!("</{name}")),
            Within::Markup => Some(0),
        };
        let Some(end) = end else {
            // The last bytes may be the beginning of the end.
            let sure = rest.len().saturating_sub(16);
            return if sure == 0 { None } else { pass(out, sure) };
        };
        if self.within != Within::Markup {
            self.within = Within::Markup;
            return pass(out, end.max(1));
        }
        let text = rest.iter().position(|byte| *byte == b'<').unwrap_or(rest.len());
        if text > 0 {
            return pass(out, text);
        }
        if rest.starts_with(b"<!--") {
            self.within = Within::Comment;
            return pass(out, 4);
        }
        let is_open = rest.get(1).is_some_and(u8::is_ascii_alphabetic);
        match tag_length(rest) {
            Some(length) if is_open => {
                self.tag(rest.get(..length).unwrap_or(rest), out);
                Some(length)
            }
            Some(_) => pass(out, 1),
            // All that was looked at goes, or every `<` in it would be looked at as far again.
            None if rest.len() > MAX_TAG => pass(out, MAX_TAG),
            None => None,
        }
    }

    /// An opening tag, whole.
    fn tag(&mut self, tag: &[u8], out: &mut Vec<u8>) {
        let Ok(text) = std::str::from_utf8(tag) else { return out.extend_from_slice(tag) };
        let name_end =
            text.find(|c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>')).unwrap_or(text.len());
        let name = text.get(1..name_end).unwrap_or_default().to_ascii_lowercase();
        if let Some(raw) = RAW.iter().find(|raw| **raw == name)
            && !text.ends_with("/>")
        {
            self.within = Within::Raw(raw);
        }
        let Some((_, addresses)) = ADDRESSES.iter().find(|(element, _)| *element == name) else {
            return out.extend_from_slice(tag);
        };
        let mut done = 0;
        for attribute in attributes(text, name_end) {
            let value = text.get(attribute.from..attribute.to).unwrap_or_default();
            let is_address = addresses.iter().any(|address| address.eq_ignore_ascii_case(attribute.name));
            if let (true, Cow::Owned(inside)) = (is_address, self.place.inside(value)) {
                out.extend_from_slice(text.get(done..attribute.from).unwrap_or_default().as_bytes());
                out.extend_from_slice(inside.as_bytes());
                done = attribute.to;
            }
        }
        out.extend_from_slice(text.get(done..).unwrap_or_default().as_bytes());
    }
}

struct Attribute<'a> {
    name: &'a str,
    /// Where its value stands, without quotes.
    from: usize,
    to: usize,
}

/// The attributes of a tag that have values.
fn attributes(tag: &str, start: usize) -> Vec<Attribute<'_>> {
    let bytes = tag.as_bytes();
    let skip = |from: usize, wanted: fn(u8) -> bool| {
        bytes
            .get(from..)
            .unwrap_or_default()
            .iter()
            .position(|b| !wanted(*b))
            .map_or(bytes.len(), |n| from + n)
    };
    let (mut found, mut at) = (Vec::new(), start);
    while at < bytes.len() {
        at = skip(at, |b| b.is_ascii_whitespace() || b == b'/');
        let name_end = skip(at, |b| !(b.is_ascii_whitespace() || matches!(b, b'=' | b'>' | b'/')));
        let name = tag.get(at..name_end).unwrap_or_default();
        let equals = skip(name_end, |b| b.is_ascii_whitespace());
        if bytes.get(equals) != Some(&b'=') {
            at = equals.max(at + 1);
            continue;
        }
        let value = skip(equals + 1, |b| b.is_ascii_whitespace());
        let (from, to, next) = match bytes.get(value) {
            Some(quote @ (b'"' | b'\'')) => {
                let inner = bytes.get(value + 1..).unwrap_or_default();
                let length = inner.iter().position(|b| b == quote).unwrap_or(inner.len());
                (value + 1, value + 1 + length, value + 2 + length)
            }
            _ => {
                let end = skip(value, |b| !(b.is_ascii_whitespace() || b == b'>'));
                (value, end, end.max(value + 1))
            }
        };
        found.push(Attribute { name, from, to });
        at = next;
    }
    found
}

/// How long the tag is that begins here; `None` when its end is not there.
fn tag_length(rest: &[u8]) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in rest.iter().enumerate().take(MAX_TAG) {
        match (quote, byte) {
            (None, b'>') => return Some(at + 1),
            (None, b'"' | b'\'') => quote = Some(*byte),
            (Some(open), byte) if open == *byte => quote = None,
            _ => {}
        }
    }
    None
}

fn find(rest: &[u8], wanted: &[u8]) -> Option<usize> {
    rest.windows(wanted.len()).position(|window| window == wanted)
}

fn find_ignoring_case(rest: &[u8], wanted: &str) -> Option<usize> {
    rest.windows(wanted.len()).position(|window| window.eq_ignore_ascii_case(wanted.as_bytes()))
}

/// A page on its way, with its links inside the proxy.
pub(crate) fn inside(
    page: Body,
    place: Place,
) -> impl HttpBody<Data = Bytes, Error = BoxError> + Send + 'static {
    Page { page, rewriter: Rewriter { place, held: Vec::new(), within: Within::Markup }, is_over: false }
}

struct Page {
    page: Body,
    rewriter: Rewriter,
    is_over: bool,
}

impl HttpBody for Page {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if self.is_over {
                return Poll::Ready(None);
            }
            let mut out = Vec::new();
            match std::task::ready!(Pin::new(&mut self.page).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rewriter.push(&data, &mut out),
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.is_over = true;
                    self.rewriter.finish(&mut out);
                }
            }
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(out.into()))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "/api/v1/namespaces/n/pods/p/proxy";

    fn place() -> Place {
        let hosts = Some(["10.0.0.1:80".to_owned(), "cluster.example".to_owned()]);
        Place { prefix: PREFIX.to_owned(), hosts }
    }

    fn rewritten(page: &str, piece: usize) -> String {
        let mut rewriter = Rewriter { place: place(), held: Vec::new(), within: Within::Markup };
        let mut out = Vec::new();
        for piece in page.as_bytes().chunks(piece) {
            rewriter.push(piece, &mut out);
        }
        rewriter.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn addresses_of_the_target_lead_through_the_proxy_and_others_do_not() {
        for (address, expected) in [
            ("/x?y=1#z", format!("{PREFIX}/x?y=1#z")),
            ("http://10.0.0.1:80/x", format!("{PREFIX}/x")),
            ("//10.0.0.1:80/x/", format!("{PREFIX}/x/")),
            ("https://cluster.example/x", format!("https://cluster.example{PREFIX}/x")),
            ("http://elsewhere/x", "http://elsewhere/x".to_owned()),
            ("x/y", "x/y".to_owned()),
            ("../x", "../x".to_owned()),
            ("#top", "#top".to_owned()),
            ("", String::new()),
            ("mailto:a@b", "mailto:a@b".to_owned()),
            (&format!("{PREFIX}/x"), format!("{PREFIX}/x")),
        ] {
            assert_eq!(place().inside(address), expected, "{address}");
        }
    }

    #[test]
    fn links_of_a_page_change_and_nothing_else_does() {
        let page = "<!DOCTYPE html><HTML><!-- <a href=\"/no\"> --><a class='k' HREF=\"/rewriteme\">test</a>\n\
            <img src=/i.png alt='/no'><script src='/s.js'>if (1 < 2) x = '<a href=\"/no\">';</script>\
            <p title=\"/no\">/no 1 < 2</p><a href=\"http://elsewhere/\">x</a><a>y</a><form action = \"/f?a>b\"></form>";
        let expected = page
            .replace("\"/rewriteme\"", &format!("\"{PREFIX}/rewriteme\""))
            .replace("src=/i.png", &format!("src={PREFIX}/i.png"))
            .replace("'/s.js'", &format!("'{PREFIX}/s.js'"))
            .replace("\"/f?a>b\"", &format!("\"{PREFIX}/f?a>b\""));
        for piece in [1, 2, 7, 50, 10_000] {
            assert_eq!(rewritten(page, piece), expected, "in pieces of {piece}");
        }
        assert_eq!(rewritten("<a href=\"/x", 3), "<a href=\"/x");
        let long = format!("<a href=\"{}", "/".repeat(2 * MAX_TAG));
        assert_eq!(rewritten(&long, 4096), long);
    }
}
