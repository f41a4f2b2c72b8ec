//! The token of the next page: what is taken from a client is what would be written for it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use token::Token;

// Only this file of the server: the rest of it takes minutes to build.
#[path = "../../orchestra-apiserver/src/verbs/token.rs"]
mod token;

fn check(token: &Token) {
    let again = Token::read(&token.write()).expect("what is written can be read");
    assert_eq!(again, *token);
    assert!(token.rv != 0 && !token.start.is_empty());
}

fuzz_target!(
    init: orchestra_fuzz::plant("continue_token", seeds()),
    |text: &str| {
        if let Ok(token) = Token::read(text) {
            check(&token);
        }
        // The text as a key, behind which a page begins.
        let token = Token::behind(1 + text.len() as i64, text);
        assert_eq!(token.start.strip_suffix('\0'), Some(text));
        // No object has a key with a part that is empty or leads elsewhere; such a one is refused, but for one slash in front.
        match Token::read(&token.write()) {
            Ok(read) if token.start.starts_with('/') => check(&read),
            Ok(_) => check(&token),
            Err(_) => assert!(token.start.split('/').any(|part| matches!(part, "" | "." | ".."))),
        }
    }
);

fn seeds() -> Vec<Vec<u8>> {
    [Token::behind(7, "default/web"), Token::behind(-1, "a"), Token::behind(i64::MAX, "\u{1f980}")]
        .iter()
        .map(|token| token.write().into_bytes())
        .chain([b"default/web".to_vec(), b"e30=".to_vec()])
        .collect()
}
