use std::fs::OpenOptions;
use std::io::Write;
use std::pin::Pin;

use futures::StreamExt;
use tempfile::TempDir;

use super::*;

fn line(text: &str) -> String {
    format!("2026-01-01T00:00:01.000000000Z stdout F {text}\n")
}

struct Log {
    dir: TempDir,
}

impl Log {
    fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("0.log")
    }

    fn append(&self, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path()).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    async fn whole(&self, options: &LogOptions) -> String {
        let pieces: Vec<_> = stream(self.path(), options, Follow::No).await.unwrap().collect().await;
        pieces.into_iter().map(|piece| String::from_utf8(piece.unwrap().to_vec()).unwrap()).collect()
    }

    async fn follow(&self, options: &LogOptions) -> (watch::Sender<bool>, Follower) {
        let (ended, end) = watch::channel(false);
        let stream = super::stream(self.path(), options, Follow::UntilEnded(end)).await.unwrap();
        (ended, Follower(Box::pin(stream)))
    }
}

struct Follower(Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>);

impl Follower {
    /// Reads until `wanted` was shown.
    async fn sees(&mut self, wanted: &str) {
        let mut seen = Vec::new();
        while seen.len() < wanted.len() {
            seen.extend_from_slice(&self.0.next().await.expect("the log goes on").unwrap());
        }
        assert_eq!(String::from_utf8(seen).unwrap(), wanted);
    }

    async fn ends(mut self) {
        assert!(self.0.next().await.is_none());
    }
}

#[tokio::test]
async fn a_log_is_read_to_its_end() {
    let log = Log::new();
    assert_eq!(log.whole(&LogOptions::default()).await, "");
    log.append(&(line("one") + &line("two")));
    assert_eq!(log.whole(&LogOptions::default()).await, "one\ntwo\n");
    let tail = LogOptions { tail_lines: Some(1), ..Default::default() };
    assert_eq!(log.whole(&tail).await, "two\n");
}

#[tokio::test]
async fn a_follower_sees_what_is_appended_until_the_container_ends() {
    let log = Log::new();
    log.append(&line("old"));
    let (ended, mut follower) = log.follow(&LogOptions::default()).await;
    follower.sees("old\n").await;
    for text in ["one", "two"] {
        log.append(&line(text));
        follower.sees(&format!("{text}\n")).await;
    }
    log.append(&line("last words"));
    ended.send_replace(true);
    follower.sees("last words\n").await;
    follower.ends().await;
}

#[tokio::test]
async fn a_waiting_follower_is_woken_by_a_line_and_by_the_end() {
    let log = Log::new();
    let (ended, mut follower) = log.follow(&LogOptions::default()).await;
    let task = tokio::spawn(async move {
        follower.sees("late\n").await;
        follower.ends().await;
    });
    tokio::task::yield_now().await;
    log.append(&line("late"));
    tokio::task::yield_now().await;
    ended.send_replace(true);
    task.await.unwrap();
}

#[tokio::test]
async fn a_forgotten_container_ends_its_followers() {
    let log = Log::new();
    log.append(&line("one"));
    let (ended, mut follower) = log.follow(&LogOptions::default()).await;
    follower.sees("one\n").await;
    drop(ended);
    follower.ends().await;
}

#[tokio::test]
async fn a_tail_of_nothing_follows_from_the_end() {
    let log = Log::new();
    log.append(&line("old"));
    let (_ended, mut follower) = log.follow(&LogOptions { tail_lines: Some(0), ..Default::default() }).await;
    log.append(&line("new"));
    follower.sees("new\n").await;
}

#[tokio::test]
async fn a_half_written_line_is_awaited() {
    let log = Log::new();
    let (_ended, mut follower) = log.follow(&LogOptions::default()).await;
    let text = line("in two pieces");
    log.append(&text[..40]);
    log.append(&line("one")[..0]);
    log.append(&text[40..]);
    follower.sees("in two pieces\n").await;
}

#[tokio::test]
async fn a_rotated_log_is_followed_into_the_new_file() {
    let log = Log::new();
    log.append(&line("old"));
    let (_ended, mut follower) = log.follow(&LogOptions::default()).await;
    follower.sees("old\n").await;
    log.append(&line("unread"));
    std::fs::rename(log.path(), log.dir.path().join("0.log.old")).unwrap();
    log.append(&line("new"));
    follower.sees("unread\nnew\n").await;
}

#[tokio::test]
async fn the_limit_ends_a_follower() {
    let log = Log::new();
    log.append(&line("123456789"));
    let (_ended, mut follower) = log.follow(&LogOptions { limit_bytes: Some(4), ..Default::default() }).await;
    follower.sees("1234").await;
    follower.ends().await;
}

#[tokio::test]
async fn a_big_log_comes_in_bounded_pieces() {
    let log = Log::new();
    log.append(&line(&"x".repeat(1000)).repeat(1000));
    let mut stream = Box::pin(stream(log.path(), &LogOptions::default(), Follow::No).await.unwrap());
    let mut total = 0;
    while let Some(piece) = stream.next().await {
        let piece = piece.unwrap();
        assert!(piece.len() <= 2 * BLOCK);
        total += piece.len();
    }
    assert_eq!(total, 1001 * 1000);
}
