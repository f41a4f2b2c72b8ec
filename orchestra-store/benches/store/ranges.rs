//! Reading many keys at one revision: whole, and page by page.

use std::sync::Arc;
use std::time::Instant;

use orchestra_store::{KeyRange, RangeOptions, ReadAt, Revision, Store};

use crate::report::quantile;
use crate::{Figure, Result, Scale, Side, Unit, creates, machine};

const VALUE: usize = 1024;
/// What clients ask for at a time.
const PAGE: usize = 500;

pub(crate) async fn figures(side: Side, scale: &Scale) -> Result<Vec<Figure>> {
    let keys = scale.range_keys;
    let whole = format!("range of {keys} keys of 1 KiB");
    if side == Side::Machine {
        let copies: Vec<f64> = (0..scale.range_reads).map(|_| machine::copy(keys * VALUE)).collect();
        return Ok(vec![Figure::new(whole, Unit::Milliseconds, quantile(&copies, 0.5))]);
    }
    let Some(opened) = side.open().await? else { return Ok(Vec::new()) };
    creates::fill(&opened.store, "ranges", keys, VALUE).await?;
    let (mut wholes, mut pages) = (Vec::new(), Vec::new());
    for _ in 0..scale.range_reads {
        wholes.push(timed(&opened.store, keys, None).await?);
        pages.push(timed(&opened.store, keys, Some(PAGE)).await?);
    }
    Ok(vec![
        Figure::new(whole, Unit::Milliseconds, quantile(&wholes, 0.5)),
        Figure::new(format!("  the same by pages of {PAGE}"), Unit::Milliseconds, quantile(&pages, 0.5)),
    ])
}

async fn timed(store: &Arc<dyn Store>, keys: usize, page: Option<usize>) -> Result<f64> {
    let begin = Instant::now();
    let read = read_all(store, "ranges", page).await?;
    let took = begin.elapsed().as_secs_f64() * 1e3;
    if read == keys { Ok(took) } else { Err(format!("{read} keys read of {keys}").into()) }
}

/// Reads everything below `folder` at one revision, and lets go of each page before the next.
pub(crate) async fn read_all(store: &Arc<dyn Store>, folder: &str, page: Option<usize>) -> Result<usize> {
    let mut range = KeyRange::prefix(format!("/registry/{folder}/"));
    let mut at = ReadAt::Latest;
    let mut read = 0;
    loop {
        let mut options = RangeOptions::new().at(at);
        options.limit = page;
        let got = store.range(range.clone(), options).await?;
        read += got.value.entries.len();
        let Some(last) = got.value.entries.last().filter(|_| got.value.remaining > 0) else {
            return Ok(read);
        };
        at = ReadAt::Exactly(Revision(got.revision.0));
        range.start = orchestra_store::Key::new([last.key.as_bytes(), b"\0"].concat());
    }
}
