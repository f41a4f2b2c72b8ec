//! Memory and opening time with many keys, in a process of its own for each, for memory is never wholly given back.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use orchestra_store::{Retention, Store};

use crate::usage::{private_bytes, resident_bytes};
use crate::{Figure, Result, Scale, Side, Unit, creates, ranges, side};

/// First argument of the process that is measured.
pub(crate) const CHILD: &str = "--footprint-child";
const VALUE: usize = 1024;
const MEBIBYTE: f64 = 1024.0 * 1024.0;

pub(crate) async fn figures(side: Side, scale: &Scale) -> Result<Vec<Figure>> {
    let keys = scale.footprint_keys;
    let in_memory = format!("resident memory with {keys} keys of 1 KiB");
    if side == Side::Etcd {
        let Some(opened) = side.open().await? else { return Ok(Vec::new()) };
        creates::fill(&opened.store, "footprint", keys, VALUE).await?;
        let etcd = opened.etcd.as_ref().ok_or("no etcd")?;
        let resident = resident_bytes(&etcd.process())? as f64 / MEBIBYTE;
        return Ok(vec![Figure::new(in_memory, Unit::Mebibytes, resident)]);
    }
    let dir = side::folder()?;
    let steps: &[&str] = match side {
        Side::Durable => &["durable", "open"],
        Side::Memory => &["memory"],
        Side::Etcd | Side::Machine => return Ok(Vec::new()),
    };
    let mut figures = Vec::new();
    for step in steps {
        let output = Command::new(std::env::current_exe()?)
            .args([CHILD, step, &keys.to_string()])
            .arg(dir.path())
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err(
                format!("the process that should hold {keys} keys ended with {}", output.status).into()
            );
        }
        for line in String::from_utf8(output.stdout)?.lines() {
            let (what, value) = line.split_once('\t').ok_or("a line without a figure")?;
            let unit = match what {
                _ if what.starts_with("opening") => Unit::Seconds,
                _ if what.starts_with("resident") => Unit::Mebibytes,
                _ => Unit::BytesPerKey,
            };
            figures.push(Figure::new(what, unit, value.parse()?));
        }
    }
    Ok(figures)
}

/// The process that is measured: fills or opens a store and tells what it occupies.
pub(crate) fn child(mut given: impl Iterator<Item = String>) -> Result<()> {
    let (step, keys, dir) = (given.next(), given.next(), given.next());
    let (step, keys) = (step.ok_or("no step")?, keys.ok_or("no number of keys")?.parse::<usize>()?);
    let dir = dir.ok_or("no folder")?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let before = private_bytes("self")?;
        let begin = Instant::now();
        let store: std::sync::Arc<dyn Store> = match step.as_str() {
            "memory" => std::sync::Arc::new(orchestra_store::MemoryStore::new()),
            _ => side::durable(Path::new(&dir), Retention::new())?,
        };
        let when = match step.as_str() {
            "open" => {
                println!("opening with {keys} keys of 1 KiB\t{}", begin.elapsed().as_secs_f64());
                "opened"
            }
            _ => {
                creates::fill(&store, "footprint", keys, VALUE).await?;
                let resident = resident_bytes("self")? as f64 / MEBIBYTE;
                println!("resident memory with {keys} keys of 1 KiB\t{resident}");
                "filled"
            }
        };
        let beyond = |bytes: u64| (bytes.saturating_sub(before) as f64) / keys as f64 - VALUE as f64;
        println!("memory beyond the values, {when}\t{}", beyond(private_bytes("self")?));
        if ranges::read_all(&store, "footprint", Some(500)).await? != keys {
            return Err("not everything that was written is there".into());
        }
        println!("memory beyond the values, {when}, after all was read\t{}", beyond(private_bytes("self")?));
        Ok(())
    })
}
