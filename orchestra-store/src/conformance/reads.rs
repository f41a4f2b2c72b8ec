//! C and H: reads, ranges and keys.

use std::sync::Arc;

use super::support::{
    all_at, compact, current, delete, get, get_at, is_compacted, is_future, keys, put, range, write,
};
use crate::key::{Key, KeyRange};
use crate::revision::Revision;
use crate::store::{RangeOptions, ReadAt, Store};
use crate::txn::Txn;

/// C2.
pub async fn c2_a_range_is_in_byte_order_and_at_one_revision(store: Arc<dyn Store>) {
    for key in ["b", "a/2", "a", "a/10", "B", "a\u{ff}", "aa"] {
        write(&*store, put(key, "0")).await;
    }
    let entries = all_at(&*store, current(&*store).await).await;
    let expected: Vec<Key> = ["B", "a", "a/10", "a/2", "aa", "a\u{ff}", "b"].map(Key::from).into();
    assert_eq!(keys(&entries), expected.iter().collect::<Vec<_>>());
    // Each write sets one key to n, another to -n and the rest to 0, so at any one revision the sum is 0.
    let name = |n: i64| Key::from(format!("sum/{}", n.rem_euclid(20)));
    let setting = move |n: i64| {
        (0..20).fold(Txn::new(), |txn, key| {
            let value = if key == n % 20 {
                n
            } else if key == (n + 7) % 20 {
                -n
            } else {
                0
            };
            txn.put(name(key), value.to_string())
        })
    };
    write(&*store, setting(0)).await;
    let writer = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for n in 1..=100 {
                write(&*store, setting(n)).await;
            }
        })
    };
    while !writer.is_finished() {
        let page = range(&*store, KeyRange::prefix("sum/"), RangeOptions::new()).await;
        let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<i64>().ok());
        let sum: Option<i64> = page.entries.iter().map(|entry| number(&entry.value)).sum();
        assert_eq!((page.entries.len(), sum), (20, Some(0)));
        tokio::task::yield_now().await;
    }
    writer.await.expect("the writer did not panic");
}

/// C3.
pub async fn c3_the_past_reads_the_same_each_time(store: Arc<dyn Store>) {
    let base = write(&*store, put("a", "1")).await;
    let second = write(&*store, put("a", "2").put("b".into(), "2")).await;
    let third = write(&*store, delete("a")).await;
    let fourth = write(&*store, put("a", "4")).await;
    for _again in 0..2 {
        let mut values = Vec::new();
        for at in [base, second, third, fourth] {
            values.push(get_at(&*store, "a", at).await.map(|entry| entry.value));
            let listed = all_at(&*store, at).await.into_iter().find(|entry| entry.key == "a".into());
            assert_eq!(values.last(), Some(&listed.map(|entry| entry.value)), "get and range agree");
        }
        assert_eq!(values, [Some("1".into()), Some("2".into()), None, Some("4".into())]);
        assert_eq!(get_at(&*store, "b", base).await, None);
        write(&*store, put("b", "later")).await;
    }
}

/// C4, with writes between the pages.
pub async fn c4_pages_at_one_revision_have_no_gap_and_no_double(store: Arc<dyn Store>) {
    for n in 0..25 {
        write(&*store, put(&format!("page/{n:02}"), "old")).await;
    }
    let whole = KeyRange::prefix("page/");
    let first =
        store.range(whole.clone(), RangeOptions::new().limit(4)).await.expect("the latest can be read");
    let at = first.revision;
    let mut collected = first.value.entries;
    let mut remaining = first.value.remaining;
    while remaining > 0 {
        assert_eq!(collected.len() as u64 + remaining, 25);
        write(&*store, put(&format!("page/{:02}x", collected.len()), "new")).await;
        write(&*store, delete(&format!("page/{:02}", collected.len()))).await;
        let last = collected.last().expect("a page that leaves something is not empty");
        let start = Key::new([last.key.as_bytes(), b"\0"].concat());
        let options = RangeOptions::new().at(ReadAt::Exactly(at)).limit(4);
        let page = range(&*store, KeyRange { start, end: whole.end.clone() }, options).await;
        assert!(!page.entries.is_empty());
        collected.extend(page.entries);
        remaining = page.remaining;
    }
    let expected: Vec<Key> = (0..25).map(|n| format!("page/{n:02}").into()).collect();
    assert_eq!(keys(&collected), expected.iter().collect::<Vec<_>>());
    assert!(collected.iter().all(|entry| entry.value == "old"));
}

/// C5.
pub async fn c5_outside_the_window_is_an_error(store: Arc<dyn Store>) {
    for n in 0..5 {
        write(&*store, put("a", n.to_string())).await;
    }
    let now = current(&*store).await;
    let compacted = Revision(now.0 - 2);
    compact(&*store, compacted).await;
    let options = |at| RangeOptions::new().at(ReadAt::Exactly(at));
    is_future(store.get(&"a".into(), ReadAt::Exactly(now.next())).await, now);
    is_future(store.range(KeyRange::all(), options(now.next())).await, now);
    for below in [compacted, Revision(compacted.0 - 1), Revision::NONE] {
        is_compacted(store.get(&"a".into(), ReadAt::Exactly(below)).await, compacted);
        is_compacted(store.range(KeyRange::all(), options(below)).await, compacted);
    }
    assert!(get_at(&*store, "a", compacted.next()).await.is_some());
}

/// H1: nothing outside the range is shown or counted.
pub async fn h1_a_range_ends_where_it_says(store: Arc<dyn Store>) {
    for key in ["/pods", "/pods/", "/pods/a", "/pods/b", "/pods0", "/podsecurity/a", "/po"] {
        write(&*store, put(key, "x")).await;
    }
    let page = range(&*store, KeyRange::prefix("/pods/"), RangeOptions::new().limit(1)).await;
    assert_eq!((keys(&page.entries), page.remaining), (vec![&"/pods/".into()], 2));
    let exact = KeyRange { start: "/pods/a".into(), end: Some("/pods/b".into()) };
    assert_eq!(keys(&range(&*store, exact, RangeOptions::new()).await.entries), [&"/pods/a".into()]);
    for (start, end) in [("/pods/b", "/pods/a"), ("/pods/a", "/pods/a"), ("x", "")] {
        let nothing = KeyRange { start: start.into(), end: Some(end.into()) };
        let page = range(&*store, nothing, RangeOptions::new()).await;
        assert_eq!((page.entries.len(), page.remaining), (0, 0), "from {start} to {end}");
    }
}

/// H2.
pub async fn h2_keys_are_bytes(store: Arc<dyn Store>) {
    let odd: [&[u8]; 9] = [
        b"\0",
        b"\0\0",
        b"a/../b",
        b"a//b",
        b"a/./b",
        b"\xff",
        b"\xff\xff",
        b"\xc3\x28 not utf-8",
        "é".as_bytes(),
    ];
    for key in odd {
        write(&*store, Txn::new().put(Key::new(key), key)).await;
    }
    for key in odd {
        let read = store.get(&Key::new(key), ReadAt::Latest).await.expect("the latest can be read").value;
        assert_eq!(read.map(|entry| entry.value).as_deref(), Some(key));
    }
    assert_eq!(get(&*store, "a/b").await, None);
    assert_eq!(all_at(&*store, current(&*store).await).await.len(), odd.len());
    let tail = range(&*store, KeyRange::prefix(b"\xff"), RangeOptions::new()).await;
    assert_eq!(tail.entries.len(), 2, "a range without an end reaches the last key");
}

/// C4: the count behind a page.
pub async fn limit_and_remaining_agree_with_the_whole(store: Arc<dyn Store>) {
    for n in 0..10 {
        write(&*store, put(&format!("k{n}"), "x")).await;
    }
    write(&*store, delete("k3")).await;
    for limit in 0..12 {
        let page = range(&*store, KeyRange::all(), RangeOptions::new().limit(limit)).await;
        assert_eq!((page.entries.len(), page.remaining), (limit.min(9), 9_u64.saturating_sub(limit as u64)));
    }
    assert_eq!(range(&*store, KeyRange::all(), RangeOptions::new()).await.remaining, 0);
}
